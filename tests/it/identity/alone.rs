//! A Toolgate without anything around it, asked directly.

use std::{collections::HashMap, net::SocketAddr};

use harness::PATIENCE;
use http::{Method, StatusCode};
use serde_json::Value;
use server::{Listeners, Shutdown};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::authority::HOST;

/// The header that counts.
pub(super) const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// A Toolgate without anything around it.
pub(super) struct Alone {
    pub(super) address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    _directory: TempDir,
}

impl Alone {
    /// Starts it with a Pomerium at `pomerium`, whose certificate is this one.
    pub(super) async fn start(pomerium: SocketAddr, ca_pem: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca_pem).unwrap();
        let database = directory.path().join("toolgate.db");
        let settings: HashMap<String, String> = [
            ("TOOLGATE_PUBLIC_URL", format!("https://{HOST}")),
            ("TOOLGATE_POMERIUM_ADDR", pomerium.to_string()),
            ("TOOLGATE_CA_FILE", ca_file.display().to_string()),
            (
                "TOOLGATE_DATABASE_URL",
                format!("sqlite://{}", database.display()),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let config = server::Config::read(&settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alone = Self {
            address: listener.local_addr().unwrap(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            _directory: directory,
        };
        let serving = server::serve(
            config,
            Listeners {
                public: listener,
                admin: None,
            },
            Shutdown::at_once(alone.shutdown.clone()),
        );
        alone.tasks.spawn(async move { serving.await.unwrap() });
        alone
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// `GET /api/session` with these headers.
    pub(super) async fn session(&self, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let (status, kind, body) = self.ask(Method::GET, "/api/session", headers).await;
        let body = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        if !status.is_success() {
            assert_eq!(kind, "application/problem+json", "{body}");
        }
        (status, body)
    }

    pub(super) async fn with(&self, assertion: &str) -> (StatusCode, Value) {
        self.session(&[(ASSERTION, assertion)]).await
    }

    /// The problem that an assertion is refused with; it must say what is wrong in these words.
    pub(super) async fn refused(&self, assertion: &str, words: &str) {
        let (status, problem) = self.with(assertion).await;
        assert_eq!(status, 401, "{words}: {problem}");
        assert_eq!(problem["code"], "bad_assertion");
        assert_eq!(problem["layer"], "toolgate");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{words:?} is not in {detail:?}");
        let advice = problem["advice"].as_str().unwrap();
        assert!(!advice.is_empty(), "{detail}");
        for (flaw, remedy) in [
            ("has expired", "clocks"),
            ("another host", "TOOLGATE_PUBLIC_URL"),
            ("key is unknown", "toolgate doctor"),
            ("signature is wrong", "toolgate doctor"),
            ("names nobody", "policy"),
        ] {
            let helps = !detail.contains(flaw) || advice.contains(remedy);
            assert!(helps, "{detail}: {advice}");
        }
        assert!(!problem.to_string().contains(assertion), "it is repeated");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are other people's programs, not Toolgate"
    )]
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, String, String) {
        wire::http::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.timeout(PATIENCE).send().await.unwrap();
        let kind = response.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status();
        (
            status,
            kind.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    }
}
