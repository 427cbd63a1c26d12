//! Every URL there is.

use std::sync::Arc;

use axum::{
    Extension, Router, middleware,
    routing::{any, get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    api,
    app::{App, AppState},
    gate, page, v1,
};

/// All routes. Pomerium answers `/ping`, `/healthz` and `/.pomerium*` itself on every host.
pub fn router(app: Arc<App>) -> Router {
    let state = AppState(app);
    let router = Router::new()
        // Pages.
        .route("/", get(page::new_chat))
        .route("/c/{conversation}", get(page::conversation))
        .route("/connected", get(page::connected::connected))
        .route("/traffic", get(page::traffic::turns))
        .route("/traffic/{turn}", get(page::traffic::turn))
        .route("/traffic/{turn}/{exchange}", get(page::traffic::exchange))
        .route("/traffic/{turn}/calls/{call}", get(page::traffic::call))
        .route("/calls/{turn}/{call}", get(page::result::page))
        .route("/static/{version}/{name}", get(page::assets::asset))
        .route("/api/events", get(page::stream::events))
        // Who, with which servers.
        .route("/api/session", get(api::session))
        .route("/api/openapi.json", get(api::openapi::document))
        .route(
            "/api/servers",
            get(api::servers::all).post(api::servers::try_all),
        )
        .route("/api/servers/look", post(api::servers::look))
        .route("/api/servers/disconnect", post(api::servers::disconnect))
        // Conversations.
        .route("/api/conversations", get(api::conversations::list))
        .route(
            "/api/conversations/{conversation}",
            get(api::conversations::whole)
                .patch(api::conversations::change)
                .delete(api::conversations::delete),
        )
        .route(
            "/api/conversations/{conversation}/restore",
            post(api::conversations::restore),
        )
        .route("/api/messages", post(api::post_message))
        .route("/api/models", get(api::models))
        // Turns.
        .route("/api/turns/{turn}", get(api::turn))
        .route("/api/turns/{turn}/events", get(api::events::events))
        .route("/api/turns/{turn}/cancel", post(api::cancel))
        .route("/api/turns/{turn}/questions/{question}", post(api::answer))
        .route(
            "/api/turns/{turn}/calls/{call}/result",
            get(api::call_result),
        )
        .route(
            "/api/turns/{turn}/calls/{call}/content/{block}",
            get(page::result::content),
        )
        // Traffic.
        .route("/api/traffic", get(api::traffic::turns))
        .route("/api/traffic/{turn}", get(api::traffic::exchanges))
        .route("/api/traffic/{turn}/har", get(api::traffic::har))
        .route(
            "/api/traffic/{turn}/{exchange}",
            get(api::traffic::exchange),
        )
        .route(
            "/api/traffic/{turn}/{exchange}/{side}",
            get(api::traffic::body),
        )
        // OpenAI's API, for programs. The nest has no part in the bare slash.
        .route("/v1/", any(v1::not_found))
        .nest(
            "/v1",
            Router::new()
                .route("/chat/completions", post(v1::chat_completions))
                .route("/models", get(v1::models))
                .route("/models/{*model}", get(v1::model))
                .fallback(v1::not_found)
                .method_not_allowed_fallback(v1::method_not_allowed)
                .layer(Extension(v1::Intake::default()))
                .layer(CatchPanicLayer::custom(v1::panicked)),
        )
        .fallback(page::not_found)
        .method_not_allowed_fallback(api::method_not_allowed);
    guarded(router, state)
}

/// The routes behind what every request passes.
fn guarded(router: Router<AppState>, state: AppState) -> Router {
    router
        // The last layer is the first that a request passes.
        .layer(page::compress::layer())
        .layer(middleware::from_fn(page::compress::only_for_our_pages))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            gate::same_origin,
        ))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            gate::identify,
        ))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(page::theme::choose))
        .layer(middleware::from_fn(page::headers))
        .with_state(state)
}
