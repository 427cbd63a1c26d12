//! What people do on a page.

use serde_json::{Value, json};

use super::{Key, Tab, element::Pressed, keys::With};

/// How often what is to be pressed may give way to something new: more than an answer does.
const RENEWALS: usize = 50;
/// Controls that one round of Tab meets at most: more than any page of the tests has.
const CONTROLS: usize = 100;

/// Using the page.
impl Tab {
    /// Sends a message, and waits until it stands in the conversation.
    pub async fn ask(&self, question: &str) {
        self.send(question).await;
        self.wait_asked(question).await;
    }

    /// Waits until this is the last message of the conversation. Whether its answer is still being
    /// given is not said: it may be complete before anybody looks.
    pub async fn wait_asked(&self, question: &str) {
        let stands = format!(
            "document.querySelector('.turn:last-child .message')?.textContent.trim() === {}",
            json!(question.trim())
        );
        self.wait_true(&stands).await;
    }

    /// Writes a message into the box and presses Send, whatever comes of it.
    pub async fn send(&self, message: &str) {
        self.write(message).await;
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

    /// Presses the key of a letter or sign, wherever the focus is.
    pub async fn press_char(&self, c: char) {
        self.char_with(c, With::Nothing).await;
    }

    /// The same with Control.
    pub async fn press_control(&self, c: char) {
        self.char_with(c, With::Control).await;
    }

    /// Presses Tab until this has the focus, as somebody without a mouse does.
    pub async fn tab_to(&self, role: &str, name: &str) {
        for _ in 0..CONTROLS {
            self.press(Key::Tab).await;
            if self.is_focused(role, name).await {
                return;
            }
        }
        panic!("no Tab leads to {role} {name:?}");
    }

    /// Whether this has the focus.
    pub async fn is_focused(&self, role: &str, name: &str) -> bool {
        for element in self.find_all(role, name).await {
            if element.has_focus().await {
                return true;
            }
        }
        false
    }

    /// Presses the one element of this role and with exactly this name.
    pub async fn click(&self, role: &str, name: &str) {
        // What is being kept up to date may be another one by the time the mouse is there.
        for _ in 0..RENEWALS {
            if self.find(role, name).await.try_click().await == Pressed::Yes {
                return;
            }
        }
        panic!("{role} {name:?} is put on the page again and again");
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

    async fn char_with(&self, c: char, with: With) {
        for kind in ["keyDown", "keyUp"] {
            let writes = kind == "keyDown" && with == With::Nothing;
            let event = json!({
                "type": kind, "key": c, "modifiers": with.bits(),
                "text": if writes { c.to_string() } else { String::new() },
            });
            self.cdp("Input.dispatchKeyEvent", event).await;
        }
    }

    async fn press_with(&self, key: Key, with: With) {
        let (key, code, number, text) = key.names();
        for kind in ["keyDown", "keyUp"] {
            let written = if kind == "keyDown" { text } else { "" };
            let event = json!({
                "type": kind, "key": key, "code": code, "modifiers": with.bits(),
                "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number,
                "text": written,
            });
            self.cdp("Input.dispatchKeyEvent", event).await;
        }
    }
}
