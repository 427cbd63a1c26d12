//! The bare pass-through proxy: what anything between a program and a model endpoint costs at the
//! least. It reads nothing, keeps nothing, and hands every frame on as it comes.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::serve::serve;

type Out = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

/// Serves until the process ends; everything goes to `upstream`.
pub(crate) async fn run(upstream: SocketAddr) -> std::io::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    serve(move |request| pass(client.clone(), upstream, request)).await
}

async fn pass(client: Out, upstream: SocketAddr, mut request: Request<Incoming>) -> Answer {
    let path = request.uri().path_and_query().map(PathAndQuery::as_str);
    let uri = format!("http://{upstream}{}", path.unwrap_or("/"));
    let answered = match uri.parse::<Uri>() {
        Ok(uri) => {
            *request.uri_mut() = uri;
            client.request(request).await.ok()
        }
        Err(_) => None,
    };
    let failed = || {
        let mut failed = Response::new(Either::Right(Empty::new()));
        *failed.status_mut() = StatusCode::BAD_GATEWAY;
        failed
    };
    answered.map_or_else(failed, |answer| answer.map(Either::Left))
}
