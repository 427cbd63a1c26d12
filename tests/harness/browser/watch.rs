//! What went wrong in a tab, collected all along.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use chromiumoxide::{
    Page,
    cdp::{
        browser_protocol::{
            log::{EventEntryAdded, LogEntryLevel},
            network::EventRequestWillBeSent,
            target::TargetId,
        },
        js_protocol::runtime::{
            ConsoleApiCalledType, EventConsoleApiCalled, EventExceptionThrown, RemoteObject,
        },
    },
};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use super::{BROWSER_PATIENCE, Browser, Request};

/// What a tab says last, so that all it said before has been heard.
const LAST_WORD: &str = "the harness has heard everything up to here";
/// Events that are taken at once.
const CHUNK: usize = 1024;

/// The ear at one tab; clones are the same one.
#[derive(Clone)]
pub(super) struct Watch {
    page: Page,
    heard: Arc<Heard>,
    words: watch::Receiver<u64>,
}

#[derive(Default)]
struct Heard {
    /// Hosts that requests may go to: the page's, with the port.
    origin: String,
    troubles: Mutex<Vec<String>>,
    allowed: Mutex<Vec<String>>,
    closed: AtomicBool,
}

enum Event {
    Trouble(String),
    LastWord,
}

impl Watch {
    /// Listens to a tab from now on.
    pub(super) async fn over(browser: &Browser, page: &Page, origin: &str) -> Self {
        let heard = Arc::new(Heard {
            origin: origin.to_owned(),
            ..Heard::default()
        });
        let (said, words) = watch::channel(0);
        let mut events = events(page, &heard).await.ready_chunks(CHUNK);
        let ear = Arc::clone(&heard);
        browser.spawn(async move {
            while let Some(chunk) = events.next().await {
                for event in &chunk {
                    if let Event::Trouble(trouble) = event {
                        lock(&ear.troubles).push(trouble.clone());
                    }
                }
                let words = chunk.iter().filter(|e| matches!(e, Event::LastWord));
                let words = words.count() as u64;
                said.send_modify(|count| *count += words);
            }
        });
        let watch = Self {
            page: page.clone(),
            heard,
            words,
        };
        for method in ["Runtime.enable", "Log.enable", "Network.enable"] {
            watch.request(method, json!({})).await;
        }
        watch
    }

    /// Whether it listens to this tab.
    pub(super) fn is_of(&self, tab: &TargetId) -> bool {
        self.page.target_id() == tab
    }

    /// Lets troubles pass whose text has this in it.
    pub(super) fn allow(&self, part: &str) {
        lock(&self.heard.allowed).push(part.to_owned());
    }

    /// What went wrong so far and was not allowed.
    pub(super) async fn troubles(&self) -> Vec<String> {
        self.listen().await;
        let allowed = lock(&self.heard.allowed).clone();
        let mut troubles = lock(&self.heard.troubles).clone();
        troubles.retain(|trouble| !allowed.iter().any(|part| trouble.contains(part)));
        troubles
    }

    /// Everything heard so far, without waiting.
    pub(super) fn so_far(&self) -> Vec<String> {
        lock(&self.heard.troubles).clone()
    }

    /// Fails if anything went wrong; a tab that was closed has been asked before.
    pub(super) async fn assert_quiet(&self) {
        if self.heard.closed.load(Ordering::Relaxed) {
            return;
        }
        let troubles = self.troubles().await;
        assert!(troubles.is_empty(), "in the browser: {troubles:#?}");
    }

    /// The tab is about to be closed, or has closed itself.
    pub(super) fn close(&self) {
        self.heard.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until everything that happened before has been heard.
    async fn listen(&self) {
        let mut words = self.words.clone();
        let before = *words.borrow_and_update();
        let say = format!("console.debug({LAST_WORD:?})");
        self.request("Runtime.evaluate", json!({ "expression": say }))
            .await;
        let heard = timeout(BROWSER_PATIENCE, words.wait_for(|count| *count > before)).await;
        assert!(matches!(heard, Ok(Ok(_))), "the tab does not talk any more");
    }

    async fn request(&self, method: &'static str, params: serde_json::Value) {
        let answered = self.page.execute(Request { method, params }).await;
        answered.unwrap_or_else(|error| panic!("{method}: {error}"));
    }
}

/// All that can be trouble, in the order in which each kind of it came.
async fn events(page: &Page, heard: &Arc<Heard>) -> impl Stream<Item = Event> + Send + use<> {
    let listen = "a listener on a living page";
    let console = page.event_listener::<EventConsoleApiCalled>().await;
    let console = console.expect(listen).filter_map(|event| {
        let text = spoken(&event.args);
        let bad = matches!(
            event.r#type,
            ConsoleApiCalledType::Error
                | ConsoleApiCalledType::Assert
                | ConsoleApiCalledType::Warning
        );
        std::future::ready(if bad {
            Some(Event::Trouble(format!("on the console: {text}")))
        } else {
            (text == LAST_WORD).then_some(Event::LastWord)
        })
    });
    let thrown = page.event_listener::<EventExceptionThrown>().await;
    let thrown = thrown.expect(listen).map(|event| {
        let details = &event.exception_details;
        let exception = details.exception.iter();
        let description = exception.filter_map(|thrown| thrown.description.as_deref());
        let description = description.collect::<String>();
        Event::Trouble(format!("a script failed: {} {description}", details.text))
    });
    let logged = page.event_listener::<EventEntryAdded>().await;
    let logged = logged.expect(listen).filter_map(|event| {
        let entry = &event.entry;
        let bad = matches!(entry.level, LogEntryLevel::Error | LogEntryLevel::Warning);
        let url = entry.url.as_deref().unwrap_or_default();
        let text = || Event::Trouble(format!("in the log: {} {url}", entry.text));
        std::future::ready(bad.then(text))
    });
    let requests = page.event_listener::<EventRequestWillBeSent>().await;
    let heard = Arc::clone(heard);
    let requests = requests.expect(listen).filter_map(move |event| {
        let url = &event.request.url;
        let elsewhere = (!is_at_home(url, &heard.origin))
            .then(|| Event::Trouble(format!("a request for somewhere else: {url}")));
        std::future::ready(elsewhere)
    });
    stream::select_all([
        console.boxed(),
        thrown.boxed(),
        logged.boxed(),
        requests.boxed(),
    ])
}

/// Whether a URL stays on this machine's port that the system has: the page itself, and the
/// stand-in's other hosts, where people sign in.
fn is_at_home(url: &str, origin: &str) -> bool {
    if url.starts_with("data:") || url.starts_with("blob:") || url == "about:blank" {
        return true;
    }
    let (Ok(url), Ok(origin)) = (url::Url::parse(url), url::Url::parse(origin)) else {
        return false;
    };
    let local = |host: &str| host.ends_with(".localhost");
    url.port_or_known_default() == origin.port_or_known_default()
        && url.host_str().is_some_and(local)
}

fn spoken(arguments: &[RemoteObject]) -> String {
    let words = arguments.iter().map(|argument| match &argument.value {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => argument.description.clone().unwrap_or_default(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
