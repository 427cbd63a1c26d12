//! What may be sent compressed.
//!
//! Pages and the page's files are (gzip); event streams never, since what is held back to be
//! compressed comes late. Who can make a browser ask for a page again and again, and watch how long
//! the answers are, could guess what is in it (the BREACH attack, CVE-2013-3587). Another site can
//! make a browser ask: so only what our own page or the person themself asked for is compressed.

use axum::{
    extract::Request,
    http::{HeaderName, header},
    middleware::Next,
    response::Response,
};
use tower_http::compression::{CompressionLayer, CompressionLevel};

/// Where a browser says a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Compresses what is asked for so; what is tiny, an image or an event stream is left as it is.
pub(crate) fn layer() -> CompressionLayer {
    CompressionLayer::new()
        .gzip(true)
        .quality(CompressionLevel::Fastest)
}

/// Lets nothing be compressed that another site may have asked for, or a program, which is near.
pub(crate) async fn only_for_our_pages(mut request: Request, next: Next) -> Response {
    let site = request.headers().get(SEC_FETCH_SITE);
    let ours = site.is_some_and(|site| site == "same-origin" || site == "none");
    if !ours {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.run(request).await
}
