//! A tab: what its user does in it and sees in it.

use std::{fmt, sync::mpsc, time::Instant};

use chromiumoxide::{Page, error::CdpError};
use demo::pomerium::DemoUser;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    BROWSER_PATIENCE, Browser, Element, Key, LOOK_EVERY, Request, Scheme, View, keys::With,
    picture, watch::Watch,
};
use crate::world::tell;

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

    async fn loaded(&self) {
        self.wait_true("document.readyState === 'complete'").await;
    }
}

/// Using the page.
impl Tab {
    /// Writes a question into the message box and presses Send.
    pub async fn ask(&self, question: &str) {
        self.write(question).await;
        self.click("button", "Send").await;
    }

    /// Writes a text where the cursor is in the message box.
    pub async fn write(&self, text: &str) {
        self.click("textbox", "Message").await;
        self.insert(text).await;
    }

    /// Writes a text where the focus is.
    pub async fn insert(&self, text: &str) {
        self.cdp("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key.
    pub async fn press(&self, key: Key) {
        self.press_with(key, With::Nothing).await;
    }

    /// Presses a key with Shift.
    pub async fn press_shift(&self, key: Key) {
        self.press_with(key, With::Shift).await;
    }

    /// Presses Tab until this has the focus, as somebody without a mouse does.
    pub async fn tab_to(&self, role: &str, name: &str) {
        // Every control of the page is met in one round.
        for _ in 0..100 {
            self.press(Key::Tab).await;
            if self.is_focused(role, name).await {
                return;
            }
        }
        panic!("no Tab leads to {role} {name:?}");
    }

    /// Whether this has the focus.
    pub async fn is_focused(&self, role: &str, name: &str) -> bool {
        let focused = self.evaluate("document.activeElement", false).await;
        let Some(object) = focused["objectId"].as_str() else {
            return false;
        };
        let focused = self.query(object, role, name).await;
        match focused.as_slice() {
            [one] => one.has_focus().await,
            _ => false,
        }
    }

    /// Presses the one element of this role and with exactly this name.
    pub async fn click(&self, role: &str, name: &str) {
        self.find(role, name).await.click().await;
    }

    pub(super) async fn press_at(&self, spot: &Value) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let (button, count) = if kind == "mouseMoved" {
                ("none", 0)
            } else {
                ("left", 1)
            };
            let event = json!({
                "type": kind, "x": spot["x"], "y": spot["y"], "button": button,
                "clickCount": count,
            });
            self.cdp("Input.dispatchMouseEvent", event).await;
        }
    }

    async fn press_with(&self, key: Key, with: With) {
        let (key, code, number, text) = key.names();
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": code, "modifiers": with.bits(),
                "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number,
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.cdp("Input.dispatchKeyEvent", event).await;
        }
    }
}

/// Seeing the page.
impl Tab {
    /// All elements of this role and with exactly this name that are there now.
    pub async fn find_all(&self, role: &str, name: &str) -> Vec<Element<'_>> {
        let document = self.evaluate("document", false).await;
        match document["objectId"].as_str() {
            Some(document) => self.query(document, role, name).await,
            None => Vec::new(),
        }
    }

    /// The one element of this role and with exactly this name, as soon as it is there.
    pub async fn find(&self, role: &str, name: &str) -> Element<'_> {
        let what = format!("one {role} {name:?}");
        let found = self.find_many(role, name, 1, &what).await;
        *found.first().expect("one was found")
    }

    /// So many elements of this role and with exactly this name, as soon as they are there, in
    /// the order of the page.
    pub async fn find_many(
        &self,
        role: &str,
        name: &str,
        count: usize,
        what: &str,
    ) -> Vec<Element<'_>> {
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            let found = self.find_all(role, name).await;
            if found.len() == count {
                return found;
            }
            if Instant::now() >= until {
                self.give_up(&format!("{what} ({} are there)", found.len()))
                    .await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nothing of this role has this name.
    pub async fn wait_gone(&self, role: &str, name: &str) {
        let what = format!("no {role} {name:?}");
        self.find_many(role, name, 0, &what).await;
    }

    /// The text of the page as it is displayed.
    pub async fn text(&self) -> String {
        let text = self.eval("document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page displays this.
    pub async fn wait_text(&self, text: &str) {
        let until = Instant::now() + BROWSER_PATIENCE;
        while !self.text().await.contains(text) {
            if Instant::now() >= until {
                self.give_up(&format!("the text {text:?}")).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the page does not display this.
    pub async fn wait_no_text(&self, text: &str) {
        let until = Instant::now() + BROWSER_PATIENCE;
        while self.text().await.contains(text) {
            if Instant::now() >= until {
                self.give_up(&format!("the text {text:?} to go")).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the answer that is being given has ended, however it did.
    pub async fn wait_end(&self) {
        self.wait_gone("button", "Stop").await;
    }

    /// What a JavaScript expression is now, or will be if it is a promise; null while a page
    /// gives way to another.
    pub async fn eval(&self, expression: &str) -> Value {
        self.evaluate(expression, true).await["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    pub async fn wait_true(&self, expression: &str) {
        let until = Instant::now() + BROWSER_PATIENCE;
        while self.eval(expression).await != true {
            if Instant::now() >= until {
                self.give_up(expression).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn query(&self, object: &str, role: &str, name: &str) -> Vec<Element<'_>> {
        let params = json!({ "objectId": object, "role": role, "accessibleName": name });
        // The page may have given way to another.
        let Ok(answer) = self.try_cdp("Accessibility.queryAXTree", params).await else {
            return Vec::new();
        };
        let nodes = answer["nodes"].as_array().into_iter().flatten();
        let displayed = nodes.filter(|node| node["ignored"] != true);
        displayed
            .filter_map(|node| node["backendDOMNodeId"].as_i64())
            .map(|id| Element::new(self, id))
            .collect()
    }

    async fn evaluate(&self, expression: &str, by_value: bool) -> Value {
        let params = json!({
            "expression": expression, "returnByValue": by_value, "awaitPromise": true,
        });
        let Ok(answer) = self.try_cdp("Runtime.evaluate", params).await else {
            return Value::Null;
        };
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        answer["result"].clone()
    }

    async fn give_up(&self, what: &str) -> ! {
        let text = self.text().await;
        panic!("waited {BROWSER_PATIENCE:?} in vain for {what}; the page reads:\n{text}");
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
            "mobile": view == View::Phone,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let light = json!({
            "features": [{ "name": "prefers-color-scheme", "value": scheme.name() }],
        });
        self.cdp("Emulation.setEmulatedMedia", light).await;
    }

    /// Keeps a picture of what is displayed: `target/screenshots/<name>.png`.
    pub async fn keep_picture(&self, name: &str) {
        let taken = self.page.clone();
        let taken = timeout(BROWSER_PATIENCE, photograph(taken)).await;
        let png = taken.expect("a picture in time").expect("a picture");
        std::fs::write(picture("screenshots", name), png).expect("a file for a picture");
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
