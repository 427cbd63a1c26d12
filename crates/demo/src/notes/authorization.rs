//! The authorization server: the consent page, codes, and the tokens they are exchanged for.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use aws_lc_rs::{constant_time::verify_slices_are_equal, error::Unspecified};
use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION},
    },
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use super::{
    Account, SCOPE, Shared,
    ledger::{Consent, Wish},
};

const PAGE: &str = include_str!("../../assets/notes/page.html");
const CONSENT: &str = include_str!("../../assets/notes/consent.html");

/// Nothing runs on the pages, and nobody else's page has them in a frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Parameters by their names. One that comes twice is as good as none (RFC 6749 section 3.1).
struct Form(HashMap<String, Option<String>>);

/// `GET /authorize`: the consent page (RFC 6749 section 4.1.1).
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let form = Form::of(query.unwrap_or_default().as_bytes());
    let redirect_uri = form.get("redirect_uri").unwrap_or_default();
    let client = &shared.client;
    // Nobody may be sent to an address that is not the client's.
    if form.get("client_id") != Some(&client.id) || redirect_uri != client.redirect_uri {
        return Ok(refusal("Notes does not know the program that sent you."));
    }
    let state = form.get("state").map(str::to_owned);
    let back = |error| {
        Ok(redirect(
            redirect_uri,
            &[("error", error)],
            state.as_deref(),
        ))
    };
    if form.get("response_type") != Some("code") {
        return back("unsupported_response_type");
    }
    let scopes = form.get("scope").unwrap_or(SCOPE);
    if scopes.split_whitespace().any(|scope| scope != SCOPE) {
        return back("invalid_scope");
    }
    let (Some(challenge), Some("S256")) = (
        form.get("code_challenge"),
        form.get("code_challenge_method"),
    ) else {
        return back("invalid_request");
    };
    let ticket = shared.ledger().wish(Wish {
        redirect_uri: redirect_uri.to_owned(),
        code_challenge: challenge.to_owned(),
        state,
    })?;
    let accounts = Account::ALL.map(|account| format!("<option>{}</option>\n", account.name()));
    let content = CONSENT
        .replace("{{ticket}}", &ticket)
        .replace("{{accounts}}", &accounts.concat());
    Ok(page(StatusCode::OK, "Allow access", &content))
}

/// `POST /authorize`: what somebody pressed on the consent page.
pub(super) async fn decide(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response, Trouble> {
    let form = Form::of(&body);
    let mut ledger = shared.ledger();
    let ticket = form.get("ticket").unwrap_or_default();
    let Some(wish) = ledger.wished(ticket) else {
        return Ok(refusal("This page was open for too long, or was used."));
    };
    let chosen = form.get("account").unwrap_or_default();
    let account = Account::ALL
        .into_iter()
        .find(|account| account.name() == chosen);
    let (redirect_uri, state) = (wish.redirect_uri.clone(), wish.state.clone());
    let code;
    let outcome = match (form.get("decision"), account) {
        (Some("allow"), Some(account)) => {
            code = ledger.consent(Consent { wish, account })?;
            ("code", code.as_str())
        }
        _ => ("error", "access_denied"),
    };
    Ok(redirect(&redirect_uri, &[outcome], state.as_deref()))
}

/// `POST /token` (RFC 6749 sections 4.1.3 and 6).
pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response, Trouble> {
    let form = Form::of(&body);
    if !is_client(&shared, &form) {
        return Ok(token_error(StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    let mut ledger = shared.ledger();
    let account = match form.get("grant_type") {
        Some("authorization_code") => {
            let code = form.get("code").unwrap_or_default();
            let consent = ledger.consented(code);
            consent
                .filter(|consent| is_the_one(&consent.wish, &form))
                .map(|consent| consent.account)
        }
        Some("refresh_token") => {
            let token = form.get("refresh_token").unwrap_or_default();
            ledger.of_refresh_token(token)
        }
        Some(_) => {
            let error = "unsupported_grant_type";
            return Ok(token_error(StatusCode::BAD_REQUEST, error));
        }
        None => return Ok(token_error(StatusCode::BAD_REQUEST, "invalid_request")),
    };
    let Some(account) = account else {
        return Ok(token_error(StatusCode::BAD_REQUEST, "invalid_grant"));
    };
    let life = shared.options.access_token_life;
    let mut answer = json!({
        "access_token": ledger.access_token(account, life)?,
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "scope": SCOPE,
    });
    // A refresh token stays as it is: the client is one that can keep a secret.
    if form.get("grant_type") == Some("authorization_code")
        && let Some(answer) = answer.as_object_mut()
    {
        let token = ledger.refresh_token(account)?;
        answer.insert("refresh_token".to_owned(), token.into());
    }
    Ok(no_store(Json(answer).into_response()))
}

/// The metadata of the authorization server (RFC 8414 section 2).
pub(super) async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "issuer": shared.url(""),
        "authorization_endpoint": shared.url("/authorize"),
        "token_endpoint": shared.url("/token"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "scopes_supported": [SCOPE],
    }))
}

/// Something that only a broken system does: there are no random numbers.
pub(super) struct Trouble;

impl From<Unspecified> for Trouble {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl Form {
    fn of(text: &[u8]) -> Self {
        let mut form = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            form.entry(name.into_owned())
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(Cow::into_owned(value)));
        }
        Self(form)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().filter(|text| !text.is_empty())
    }
}

fn is_client(shared: &Shared, form: &Form) -> bool {
    let secret = form.get("client_secret").unwrap_or_default();
    form.get("client_id") == Some(&shared.client.id)
        && verify_slices_are_equal(secret.as_bytes(), shared.client.secret.as_bytes()).is_ok()
}

/// Whether who brings the code is who asked for it (RFC 7636 section 4.6).
fn is_the_one(wish: &Wish, form: &Form) -> bool {
    let verifier = form.get("code_verifier").unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    form.get("redirect_uri") == Some(&wish.redirect_uri) && challenge == wish.code_challenge
}

fn token_error(status: StatusCode, error: &str) -> Response {
    no_store((status, Json(json!({ "error": error }))).into_response())
}

fn no_store(mut response: Response) -> Response {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, value);
    response
}

/// Back to the client, whose address is known to be a URL.
fn redirect(redirect_uri: &str, pairs: &[(&str, &str)], state: Option<&str>) -> Response {
    let Ok(mut url) = Url::parse(redirect_uri) else {
        return refusal("The program that sent you has no address.");
    };
    url.query_pairs_mut()
        .extend_pairs(pairs)
        .extend_pairs(state.map(|state| ("state", state)));
    let location = [(LOCATION, url.to_string())];
    no_store((StatusCode::SEE_OTHER, location).into_response())
}

fn refusal(said: &str) -> Response {
    let content = format!("<h1>This did not work</h1>\n<p>{said} Go back and try again.</p>\n");
    page(StatusCode::BAD_REQUEST, "Error", &content)
}

fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = PAGE
        .replace("{{title}}", title)
        .replace("{{content}}", content);
    let headers: [(HeaderName, &str); 1] = [(CONTENT_SECURITY_POLICY, POLICY)];
    no_store((status, headers, Html(html)).into_response())
}
