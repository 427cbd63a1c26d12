//! What the page weighs on its way to the browser.

use std::{collections::BTreeSet, path::Path};

use harness::World;
use http::Method;

/// Everything that a new chat loads, and what colours its first code, compressed: bytes.
const MOST: usize = 150_000;

#[tokio::test]
async fn a_new_chat_with_everything_is_light() {
    let world = World::start().await;
    let ana = world.ana();
    let get = async |path: &str, site: &'static str| {
        let request = ana
            .request(Method::GET, path)
            .header("accept-encoding", "gzip")
            .header("sec-fetch-site", site)
            .header("accept", "text/html");
        let response = begin(request).await;
        assert!(response.status().is_success(), "{path}");
        let coding = response.headers().get("content-encoding").cloned();
        (coding, response.bytes().await.unwrap())
    };
    // What another site makes a browser ask for is never compressed.
    let (coding, plain) = get("/", "cross-site").await;
    assert_eq!(coding, None);
    let page = String::from_utf8(plain.to_vec()).unwrap();
    let (coding, packed) = get("/", "none").await;
    assert_eq!(coding.unwrap(), "gzip");
    assert!(packed.len() < plain.len() / 2, "{}", packed.len());

    let version = page.split("/static/").nth(1).unwrap();
    let version = version.split('/').next().unwrap();
    let mut sum = packed.len();
    // Asked for when there is code: the core, and the largest of the languages.
    let colours = ["highlight-core.js", "highlight-css.js"].map(str::to_owned);
    for name in loaded(&page).into_iter().chain(colours) {
        let (_, bytes) = get(&format!("/static/{version}/{name}"), "same-origin").await;
        sum += bytes.len();
    }
    assert!(sum < MOST, "{sum} bytes");
    world.finish().await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness reads answers as text, and these are packed"
)]
async fn begin(request: reqwest::RequestBuilder) -> reqwest::Response {
    request.send().await.unwrap()
}

/// The names of the files that a page names, and of those that its modules import.
fn loaded(page: &str) -> BTreeSet<String> {
    let files = page.split("/static/").skip(1);
    let names = files.filter_map(|rest| rest.split('"').next()?.split('/').nth(1));
    let mut open: Vec<_> = names.map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/static");
    while let Some(name) = open.pop() {
        let source = std::fs::read_to_string(directory.join(&name)).unwrap();
        let imports = ["from './", "import './"].map(|words| source.split(words).skip(1));
        let imports = imports
            .into_iter()
            .flatten()
            .filter_map(|rest| rest.split('\'').next());
        if found.insert(name) {
            open.extend(imports.map(str::to_owned));
        }
    }
    assert!(
        found.contains("patch.js") && found.contains("base.css"),
        "{found:?}"
    );
    found
}
