//! A tab: what its user does in it and sees in it.

use std::{fmt, path::PathBuf, sync::mpsc};

use chromiumoxide::{Page, cdp::browser_protocol::target::TargetId, error::CdpError};
use demo::pomerium::DemoUser;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{BROWSER_PATIENCE, Browser, Request, Scheme, View, picture, watch::Watch};
use crate::world::tell;

/// Done when everything that moves on the page and will stop has stopped.
const STILL: &str = "Promise.all(document.getAnimations()
  .filter((animation) => animation.effect.getTiming().iterations !== Infinity)
  .map((animation) => animation.finished.catch(() => {}))).then(() => 0)";

/// A tab of a [`super::Visitor`].
pub struct Tab {
    browser: &'static Browser,
    page: Page,
    watch: Watch,
    origin: String,
    number: usize,
}

impl Tab {
    pub(super) async fn new(
        browser: &'static Browser,
        page: Page,
        watch: Watch,
        (origin, number): (String, usize),
    ) -> Self {
        let tab = Self {
            browser,
            page,
            watch,
            origin,
            number,
        };
        let focused = json!({ "enabled": true });
        tab.cdp("Emulation.setFocusEmulationEnabled", focused).await;
        tab
    }
}

/// Going places.
impl Tab {
    /// Goes to a path of Toolgate's and waits until what is there has loaded.
    pub async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.cdp("Page.navigate", json!({ "url": url })).await;
        self.loaded().await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.eval("window.harnessSawThisPage = true").await;
        self.cdp("Page.reload", json!({})).await;
        self.wait_true("!window.harnessSawThisPage").await;
        self.loaded().await;
    }

    /// Signs in on the stand-in's page, and waits for Toolgate's.
    pub async fn sign_in(&self, who: DemoUser) {
        let name = format!("Sign in as {}", who.name());
        self.click("button", &name).await;
        self.find("textbox", "Message").await;
        self.loaded().await;
    }

    /// Where the tab is: the path.
    pub async fn path(&self) -> String {
        let path = self.eval("location.pathname").await;
        path.as_str().unwrap_or_default().to_owned()
    }

    /// Closes it; fails if anything went wrong in it.
    pub async fn close(self) {
        self.watch.assert_quiet().await;
        self.watch.close();
        let closed = self.page.clone().close().await;
        closed.unwrap_or_else(|error| panic!("the tab does not close: {error}"));
    }

    /// It is going to close itself.
    pub(super) fn closes(&self) {
        self.watch.close();
    }

    /// Whether it is this one.
    pub(super) fn is(&self, target: &TargetId) -> bool {
        self.watch.is_of(target)
    }

    async fn loaded(&self) {
        self.wait_true("document.readyState === 'complete'").await;
    }
}

/// What is around the page.
impl Tab {
    /// Lets this kind of trouble pass: what the test itself provokes. A part of its text.
    pub fn allow(&self, part: &str) {
        self.watch.allow(part);
    }

    /// What went wrong in it so far and was not allowed.
    pub async fn troubles(&self) -> Vec<String> {
        self.watch.troubles().await
    }

    /// Cuts the tab off from the network, or lets it back.
    pub async fn set_offline(&self, offline: Offline) {
        let params = json!({
            "offline": offline == Offline::Yes, "latency": 0,
            "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.cdp("Network.emulateNetworkConditions", params).await;
    }

    /// Switches the page's scripts off, from the next page on.
    pub async fn forbid_scripts(&self) {
        let params = json!({ "value": true });
        self.cdp("Emulation.setScriptExecutionDisabled", params)
            .await;
    }

    /// Has this script run before any of the page's own, from the next page on.
    pub async fn run_first(&self, script: &str) {
        let params = json!({ "source": script });
        self.cdp("Page.addScriptToEvaluateOnNewDocument", params)
            .await;
    }

    /// Looks at the page on this and in this light.
    pub async fn look(&self, view: View, scheme: Scheme) {
        let (width, height) = view.size();
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": view.is_phone(),
        });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let light = json!({
            "features": [{ "name": "prefers-color-scheme", "value": scheme.name() }],
        });
        self.cdp("Emulation.setEmulatedMedia", light).await;
    }

    /// Waits until everything that moves on the page and will stop has stopped.
    pub async fn still(&self) {
        self.eval(STILL).await;
    }

    /// Keeps a picture of what is displayed: `target/screenshots/<name>.png`.
    pub async fn keep_picture(&self, name: &str) {
        self.keep(picture("screenshots", name)).await;
    }

    /// Keeps a picture of one of the main states of the page: `target/screens/<name>.png`.
    pub async fn keep_screen(&self, name: &str) {
        self.keep(picture("screens", name)).await;
    }

    async fn keep(&self, file: PathBuf) {
        self.still().await;
        let taken = self.page.clone();
        let taken = timeout(BROWSER_PATIENCE, photograph(taken)).await;
        let png = taken.expect("a picture in time").expect("a picture");
        std::fs::write(file, png).expect("a file for a picture");
    }

    /// Does something of the `DevTools` protocol; fails if it is refused.
    pub async fn cdp(&self, method: &'static str, params: Value) -> Value {
        let answer = self.try_cdp(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(super) async fn try_cdp(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, CdpError> {
        let answer = self.page.execute(Request { method, params }).await?;
        Ok(answer.result)
    }
}

/// Whether a tab is cut off from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// Cut off.
    Yes,
    /// As usual.
    No,
}

impl fmt::Debug for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tab")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Tab {
    /// A test that fails leaves a picture of its tab, and what went wrong in it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test").replace("::", "-");
        let file = picture("failures", &format!("{test}-{}", self.number));
        let (page, (done, taken)) = (self.page.clone(), mpsc::channel());
        self.browser.spawn(async move {
            done.send(photograph(page).await).ok();
        });
        match taken.recv_timeout(BROWSER_PATIENCE) {
            Ok(Ok(png)) if std::fs::write(&file, &png).is_ok() => {
                tell(&format!("the failed test's tab: {}", file.display()));
            }
            _ => tell("no picture of the failed test's tab"),
        }
        for trouble in self.watch.so_far() {
            tell(&trouble);
        }
    }
}

async fn photograph(page: Page) -> Result<Vec<u8>, CdpError> {
    let params = chromiumoxide::page::ScreenshotParams::builder().build();
    page.screenshot(params).await
}
