//! Somebody with cookies, storage and tabs of their own.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use chromiumoxide::{
    Page,
    cdp::browser_protocol::{
        browser::BrowserContextId,
        network::CookieParam,
        storage::SetCookiesParams,
        target::{
            CreateBrowserContextParams, CreateTargetParams, DisposeBrowserContextParams,
            GetTargetsParams, TargetId,
        },
    },
};
use demo::pomerium::DemoUser;
use tokio::time::sleep;

use super::{BROWSER_PATIENCE, Browser, LOOK_EVERY, Tab, watch::Watch};
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

    /// A new tab at `/` in which this script runs before any of the page's own.
    pub async fn open_with(&self, script: &str) -> Tab {
        let tab = self.open_blank().await;
        tab.run_first(script).await;
        tab.go("/").await;
        tab
    }

    /// A new tab that shows nothing yet.
    pub async fn open_blank(&self) -> Tab {
        let mut blank = CreateTargetParams::new("about:blank");
        blank.browser_context_id = Some(self.context.clone());
        blank.new_window = Some(true);
        let page = self.browser.chromium.new_page(blank).await;
        self.adopt(page.unwrap_or_else(|error| panic!("no tab: {error}")))
            .await
    }

    /// The tab that a page has opened, as soon as it is there. It can have seen troubles before
    /// anybody listened.
    pub async fn opened_tab(&self) -> Tab {
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            if let Some(page) = self.stranger().await {
                return self.adopt(page).await;
            }
            assert!(Instant::now() < until, "no page has opened a tab");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a tab has closed itself. What went wrong in it is not asked.
    pub async fn wait_closed(&self, tab: Tab) {
        let until = Instant::now() + BROWSER_PATIENCE;
        tab.closes();
        while self.targets().await.iter().any(|target| tab.is(target)) {
            assert!(Instant::now() < until, "the tab does not close");
            sleep(LOOK_EVERY).await;
        }
    }

    /// A tab of this visitor's that no test has opened.
    async fn stranger(&self) -> Option<Page> {
        let mut targets = self.targets().await.into_iter();
        let known = |id: &TargetId| self.watched().iter().any(|watch| watch.is_of(id));
        let found = targets.find(|target| !known(target))?;
        self.browser.chromium.get_page(found).await.ok()
    }

    /// Every tab of this visitor's.
    async fn targets(&self) -> Vec<TargetId> {
        let targets = GetTargetsParams::default();
        let targets = self.browser.chromium.execute(targets).await;
        let targets = targets.expect("the browser knows its tabs").result;
        targets
            .target_infos
            .into_iter()
            .filter(|target| target.r#type == "page")
            .filter(|target| target.browser_context_id.as_ref() == Some(&self.context))
            .map(|target| target.target_id)
            .collect()
    }

    async fn adopt(&self, page: Page) -> Tab {
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
        let disposed = self.browser.chromium.execute(self.disposal()).await;
        disposed.expect("the browser context goes");
    }

    fn disposal(&self) -> DisposeBrowserContextParams {
        DisposeBrowserContextParams::new(self.context.clone())
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watch>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visitor {
    /// The tabs of a test that failed would go on asking for a Toolgate that is gone, at the cost
    /// of all tests after it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (browser, disposal) = (self.browser, self.disposal());
            browser.spawn(async move {
                browser.chromium.execute(disposal).await.ok();
            });
        }
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
