//! What people find on a page.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{BROWSER_PATIENCE, Element, LOOK_EVERY, Tab, at, string};

/// Seeing the page.
impl Tab {
    /// All elements of this role and with exactly this name that are there now.
    pub async fn find_all(&self, role: &str, name: &str) -> Vec<Element<'_>> {
        let document = self.evaluate(json!({ "expression": "document" })).await;
        match string(&document, "/objectId") {
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

    /// Waits until this stands in the box of this role and with exactly this name.
    pub async fn wait_value(&self, role: &str, name: &str, value: &str) {
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            let there = self.find(role, name).await.value().await;
            if there == value {
                return;
            }
            if Instant::now() >= until {
                let what = format!("{value:?} in {role} {name:?}, where {there:?} stands");
                self.give_up(&what).await;
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
        let text = self.eval("document.body?.innerText").await;
        string(&text, "").unwrap_or_default().to_owned()
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
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        at(&self.evaluate(params).await, "/value")
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
        let nodes = at(&answer, "/nodes");
        let nodes = nodes.as_array().into_iter().flatten();
        let displayed = nodes.filter(|node| at(node, "/ignored") != true);
        displayed
            .filter_map(|node| at(node, "/backendDOMNodeId").as_i64())
            .map(|id| Element::new(self, id))
            .collect()
    }

    async fn evaluate(&self, params: Value) -> Value {
        let Ok(answer) = self.try_cdp("Runtime.evaluate", params.clone()).await else {
            return Value::Null;
        };
        let failed = at(&answer, "/exceptionDetails");
        assert!(failed.is_null(), "{params}: {failed}");
        at(&answer, "/result")
    }

    async fn give_up(&self, what: &str) -> ! {
        let text = self.text().await;
        panic!("waited {BROWSER_PATIENCE:?} in vain for {what}; the page reads:\n{text}");
    }
}
