//! Something on the page that has a role and a name.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{BROWSER_PATIENCE, LOOK_EVERY, Tab, at, string};

/// Where to press the element `this`, and whether a finger there would meet it.
const SPOT: &str = "function () {
  if (!this.isConnected) return 'gone';
  this.scrollIntoView({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
  const box = this.getClientRects()[0];
  if (!box || box.width === 0 || box.height === 0) return null;
  const x = box.left + box.width / 2;
  const y = box.top + box.height / 2;
  const hit = document.elementFromPoint(x, y);
  if (!hit || !(this === hit || this.contains(hit))) return null;
  return { x, y };
}";

/// Whether an element was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// It was.
    Yes,
    /// It is not on the page any more.
    Gone,
}

/// An element of a tab's page as it was when it was found.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    tab: &'a Tab,
    backend: i64,
}

impl<'a> Element<'a> {
    pub(super) const fn new(tab: &'a Tab, backend: i64) -> Self {
        Self { tab, backend }
    }

    /// Presses it with the mouse, once it stands still and nothing lies over it.
    pub async fn click(self) {
        let pressed = self.try_click().await;
        assert_eq!(pressed, Pressed::Yes, "{self:?}");
    }

    /// The same, unless the page has put something else in its place.
    pub(super) async fn try_click(self) -> Pressed {
        let until = Instant::now() + BROWSER_PATIENCE;
        let mut before = Value::Null;
        loop {
            let Some(object) = self.object().await else {
                return Pressed::Gone;
            };
            let spot = self.call_on(&object, SPOT, &[]).await;
            if spot == "gone" {
                return Pressed::Gone;
            }
            if spot.is_object() && spot == before {
                self.tab.press_at(&spot).await;
                return Pressed::Yes;
            }
            before = spot;
            assert!(Instant::now() < until, "it cannot be pressed: {self:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Puts the focus on it.
    pub async fn focus(self) {
        self.call("function () { this.focus(); }", &[]).await;
    }

    /// Its text as it is displayed.
    pub async fn text(self) -> String {
        let text = self.call("function () { return this.innerText; }", &[]);
        text_of(&text.await)
    }

    /// What stands in a box.
    pub async fn value(self) -> String {
        let value = self.call("function () { return this.value; }", &[]);
        text_of(&value.await)
    }

    /// Whether it can be used.
    pub async fn is_enabled(self) -> bool {
        self.call("function () { return !this.disabled; }", &[])
            .await
            == true
    }

    /// Whether the focus is on it.
    pub(super) async fn has_focus(self) -> bool {
        let look = "function () { return document.activeElement === this; }";
        self.call(look, &[]).await == true
    }

    /// An attribute; empty if it is not there.
    pub async fn attribute(self, name: &str) -> String {
        let read = "function (name) { return this.getAttribute(name) ?? ''; }";
        text_of(&self.call(read, &[json!(name)]).await)
    }

    /// All elements below it of this role and with exactly this name.
    pub async fn find_all(self, role: &str, name: &str) -> Vec<Element<'a>> {
        let Some(object) = self.object().await else {
            return Vec::new();
        };
        self.tab.query(&object, role, name).await
    }

    /// The one element below it of this role and with exactly this name, as soon as it is there.
    pub async fn find(self, role: &str, name: &str) -> Element<'a> {
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            let found = self.find_all(role, name).await;
            if let [one] = found.as_slice() {
                return *one;
            }
            assert!(
                Instant::now() < until,
                "{} of {role} {name:?} in {}",
                found.len(),
                self.text().await
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// Calls a function with the element as `this`; null if it is gone.
    async fn call(self, function: &str, arguments: &[Value]) -> Value {
        match self.object().await {
            Some(object) => self.call_on(&object, function, arguments).await,
            None => Value::Null,
        }
    }

    async fn call_on(self, object: &str, function: &str, arguments: &[Value]) -> Value {
        let arguments: Vec<_> = arguments.iter().map(|a| json!({ "value": a })).collect();
        let params = json!({
            "objectId": object, "functionDeclaration": function, "arguments": arguments,
            "returnByValue": true,
        });
        let answer = self.tab.try_cdp("Runtime.callFunctionOn", params).await;
        answer.map_or(Value::Null, |answer| at(&answer, "/result/value"))
    }

    async fn object(self) -> Option<String> {
        let params = json!({ "backendNodeId": self.backend });
        let answer = self.tab.try_cdp("DOM.resolveNode", params).await.ok()?;
        string(&answer, "/object/objectId").map(str::to_owned)
    }
}

fn text_of(value: &Value) -> String {
    string(value, "").unwrap_or_default().to_owned()
}
