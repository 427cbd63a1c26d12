//! Somebody with cookies, storage and tabs of their own.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use chromiumoxide::cdp::browser_protocol::{
    browser::BrowserContextId,
    network::CookieParam,
    storage::SetCookiesParams,
    target::{CreateBrowserContextParams, CreateTargetParams, DisposeBrowserContextParams},
};
use demo::pomerium::DemoUser;

use super::{Browser, Tab, watch::Watch};
use crate::World;

/// Somebody at the browser. A test ends it with [`Visitor::leave`].
pub struct Visitor {
    browser: &'static Browser,
    context: BrowserContextId,
    /// Where Toolgate's page is, without a slash at the end.
    origin: String,
    tabs: Mutex<Vec<Watch>>,
    opened: AtomicUsize,
}

impl Visitor {
    /// Somebody nobody knows yet.
    pub async fn arrive(world: &World) -> Self {
        let browser = Browser::shared().await;
        let created = browser
            .chromium
            .create_browser_context(CreateBrowserContextParams::default())
            .await;
        Self {
            browser,
            context: created.expect("a browser context"),
            origin: world.url().trim_end_matches('/').to_owned(),
            tabs: Mutex::default(),
            opened: AtomicUsize::new(0),
        }
    }

    /// Somebody who has signed in before: with the session's cookie. [`Tab::sign_in`] does it on
    /// the stand-in's page.
    pub async fn sign_in(world: &World, who: DemoUser) -> Self {
        let visitor = Self::arrive(world).await;
        let signed_in = world.standin().sign_in(who).expect("a session");
        let (name, value) = signed_in.cookie.split_once('=').expect("a cookie");
        let mut cookie = CookieParam::new(name, value);
        cookie.url = Some(visitor.origin.clone());
        cookie.http_only = Some(true);
        let mut cookies = SetCookiesParams::new(vec![cookie]);
        cookies.browser_context_id = Some(visitor.context.clone());
        let set = visitor.browser.chromium.execute(cookies).await;
        set.expect("the browser takes the cookie");
        visitor
    }

    /// A new tab, in a window of its own, at this path of Toolgate's; where it ends up may be
    /// somewhere else.
    pub async fn open(&self, path: &str) -> Tab {
        let tab = self.open_blank().await;
        tab.go(path).await;
        tab
    }

    /// A new tab that shows nothing yet.
    pub async fn open_blank(&self) -> Tab {
        let mut blank = CreateTargetParams::new("about:blank");
        blank.browser_context_id = Some(self.context.clone());
        blank.new_window = Some(true);
        let page = self.browser.chromium.new_page(blank).await;
        let page = page.unwrap_or_else(|error| panic!("no tab: {error}"));
        let watch = Watch::over(self.browser, &page, &self.origin).await;
        self.watched().push(watch.clone());
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        Tab::new(self.browser, page, watch, (self.origin.clone(), number)).await
    }

    /// Closes all tabs; fails if anything went wrong in one that was not
    /// [allowed](Tab::allow).
    pub async fn leave(self) {
        let watched = self.watched().split_off(0);
        for watch in watched {
            watch.assert_quiet().await;
        }
        self.dispose().await;
    }

    async fn dispose(&self) {
        let disposed = DisposeBrowserContextParams::new(self.context.clone());
        let disposed = self.browser.chromium.execute(disposed).await;
        disposed.expect("the browser context goes");
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watch>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
