//! The page's own files, part of the program.
//!
//! Their links carry the hash of them all, `/static/HASH/NAME`, so that what was fetched once is
//! never asked for again, the modules that a module imports included.

mod highlight;

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{problem, wants_html};
use crate::error::Problem;

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Name, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    (
        "accounts.js",
        JS,
        include_str!("../../../../web/static/accounts.js"),
    ),
    (
        "actions.js",
        JS,
        include_str!("../../../../web/static/actions.js"),
    ),
    (
        "alive.js",
        JS,
        include_str!("../../../../web/static/alive.js"),
    ),
    (
        "announce.js",
        JS,
        include_str!("../../../../web/static/announce.js"),
    ),
    (
        "answer.css",
        CSS,
        include_str!("../../../../web/static/answer.css"),
    ),
    ("api.js", JS, include_str!("../../../../web/static/api.js")),
    ("app.js", JS, include_str!("../../../../web/static/app.js")),
    (
        "base.css",
        CSS,
        include_str!("../../../../web/static/base.css"),
    ),
    (
        "code.js",
        JS,
        include_str!("../../../../web/static/code.js"),
    ),
    (
        "choices.js",
        JS,
        include_str!("../../../../web/static/choices.js"),
    ),
    (
        "composer.js",
        JS,
        include_str!("../../../../web/static/composer.js"),
    ),
    (
        "connected.js",
        JS,
        include_str!("../../../../web/static/connected.js"),
    ),
    (
        "copy.js",
        JS,
        include_str!("../../../../web/static/copy.js"),
    ),
    (
        "drawer.js",
        JS,
        include_str!("../../../../web/static/drawer.js"),
    ),
    (
        "grow.js",
        JS,
        include_str!("../../../../web/static/grow.js"),
    ),
    (
        "history.js",
        JS,
        include_str!("../../../../web/static/history.js"),
    ),
    (
        "drafts.js",
        JS,
        include_str!("../../../../web/static/drafts.js"),
    ),
    (
        "icon.svg",
        SVG,
        include_str!("../../../../web/static/icon.svg"),
    ),
    (
        "keys.js",
        JS,
        include_str!("../../../../web/static/keys.js"),
    ),
    (
        "layout.css",
        CSS,
        include_str!("../../../../web/static/layout.css"),
    ),
    (
        "leave.js",
        JS,
        include_str!("../../../../web/static/leave.js"),
    ),
    (
        "list.css",
        CSS,
        include_str!("../../../../web/static/list.css"),
    ),
    (
        "list.js",
        JS,
        include_str!("../../../../web/static/list.js"),
    ),
    (
        "needs.js",
        JS,
        include_str!("../../../../web/static/needs.js"),
    ),
    (
        "notify.js",
        JS,
        include_str!("../../../../web/static/notify.js"),
    ),
    (
        "patch.js",
        JS,
        include_str!("../../../../web/static/patch.js"),
    ),
    (
        "resend.js",
        JS,
        include_str!("../../../../web/static/resend.js"),
    ),
    (
        "queue.js",
        JS,
        include_str!("../../../../web/static/queue.js"),
    ),
    (
        "progress.js",
        JS,
        include_str!("../../../../web/static/progress.js"),
    ),
    (
        "result.js",
        JS,
        include_str!("../../../../web/static/result.js"),
    ),
    (
        "results.css",
        CSS,
        include_str!("../../../../web/static/results.css"),
    ),
    (
        "results.js",
        JS,
        include_str!("../../../../web/static/results.js"),
    ),
    (
        "scroll.js",
        JS,
        include_str!("../../../../web/static/scroll.js"),
    ),
    (
        "servers.js",
        JS,
        include_str!("../../../../web/static/servers.js"),
    ),
    (
        "shortcuts.css",
        CSS,
        include_str!("../../../../web/static/shortcuts.css"),
    ),
    (
        "standing.js",
        JS,
        include_str!("../../../../web/static/standing.js"),
    ),
    (
        "storage.js",
        JS,
        include_str!("../../../../web/static/storage.js"),
    ),
    (
        "stream.js",
        JS,
        include_str!("../../../../web/static/stream.js"),
    ),
    (
        "tabs.js",
        JS,
        include_str!("../../../../web/static/tabs.js"),
    ),
    (
        "theme.js",
        JS,
        include_str!("../../../../web/static/theme.js"),
    ),
    (
        "traffic.css",
        CSS,
        include_str!("../../../../web/static/traffic.css"),
    ),
    (
        "traffic.js",
        JS,
        include_str!("../../../../web/static/traffic.js"),
    ),
    (
        "trouble.js",
        JS,
        include_str!("../../../../web/static/trouble.js"),
    ),
    (
        "turn.css",
        CSS,
        include_str!("../../../../web/static/turn.css"),
    ),
];

/// For a link with the hash of what it leads to.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// For any other link.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The hash of all files, as it stands in links.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut digest = Sha256::new();
        for (name, _, content) in FILES.iter().chain(highlight::FILES) {
            digest.update(name);
            digest.update([0]);
            digest.update(content);
            digest.update([0]);
        }
        format!("{:x}", digest.finalize())
            .chars()
            .take(16)
            .collect()
    });
    &VERSION
}

/// `GET /static/{version}/{name}`: a file of the page.
pub(crate) async fn asset(
    Path((asked, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut files = FILES.iter().chain(highlight::FILES);
    let file = files.find(|(known, _, _)| *known == name);
    let Some((_, media, content)) = file else {
        let failed = Problem::not_found("file");
        return if wants_html(&headers) {
            Ok(problem(&failed))
        } else {
            Err(failed)
        };
    };
    let tag = format!("\"{}\"", version());
    let cache = if asked == version() {
        FOR_EVER
    } else {
        ASK_AGAIN
    };
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, *media)], *content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, cache);
    if let Ok(tag) = tag.parse() {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}
