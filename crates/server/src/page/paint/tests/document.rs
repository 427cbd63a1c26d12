//! As much of a browser as applies patches: a tree of elements with ids.

use super::super::super::patch::{Op, Patch};

const VOID: [&str; 4] = ["br", "hr", "img", "input"];

/// An element or a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    /// The start tag as written, or the text.
    head: String,
    name: String,
    children: Vec<Document>,
}

impl Document {
    /// Parses HTML in which every element is closed, as ours is.
    pub(super) fn parse(html: &str) -> Self {
        let mut open = vec![Self::default()];
        let mut rest = html;
        while !rest.is_empty() {
            let Some(tag) = rest.strip_prefix('<') else {
                let end = rest.find('<').unwrap_or(rest.len());
                let text = Self {
                    head: rest[..end].to_owned(),
                    ..Self::default()
                };
                open.last_mut().unwrap().children.push(text);
                rest = &rest[end..];
                continue;
            };
            let end = tag.find('>').expect("an unfinished tag");
            let (tag, after) = tag.split_at(end);
            rest = &after[1..];
            if let Some(name) = tag.strip_prefix('/') {
                let closed = open.pop().unwrap();
                assert_eq!(closed.name, name, "badly nested: {html}");
                open.last_mut().unwrap().children.push(closed);
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap().to_owned();
            let void = VOID.contains(&name.as_str());
            let element = Self {
                head: tag.to_owned(),
                name,
                children: Vec::new(),
            };
            if void {
                open.last_mut().unwrap().children.push(element);
            } else {
                open.push(element);
            }
        }
        assert_eq!(open.len(), 1, "an element is not closed: {html}");
        open.pop().unwrap()
    }

    pub(super) fn apply(&mut self, patches: &[Patch]) {
        for patch in patches {
            let target = patch.target();
            assert!(self.find(target).is_some(), "no {target} to be patched");
            let fragment = Self::parse(patch.html()).children;
            match patch.op() {
                Op::Replace => {
                    let roots: Vec<_> = fragment.iter().filter_map(Self::id).collect();
                    assert_eq!(roots, [target], "what replaces an element has its id");
                    self.swap(target, &fragment);
                }
                Op::Append => {
                    for node in fragment {
                        match node.id().filter(|id| self.find(id).is_some()) {
                            Some(id) => self.swap(&id, std::slice::from_ref(&node)),
                            None => self.find_mut(target).unwrap().children.push(node),
                        }
                    }
                }
            }
        }
    }

    /// The HTML, without the white space between elements.
    pub(super) fn html(&self) -> String {
        let mut html = String::new();
        self.write(&mut html);
        html
    }

    /// The HTML without the ids of code: code that was shown while it grew has one, other code
    /// has none.
    pub(super) fn html_without_code_ids(&self) -> String {
        let mut page = self.clone();
        page.forget_code_ids();
        page.html()
    }

    /// The value of the first attribute of that name, unescaped.
    pub(super) fn attribute(&self, name: &str) -> String {
        let html = self.html();
        let value = html.split(&format!("{name}=\"")).nth(1).unwrap();
        let value = value.split('"').next().unwrap();
        let value = value.replace("&#60;", "<").replace("&#62;", ">");
        value.replace("&#34;", "\"").replace("&#38;", "&")
    }

    fn forget_code_ids(&mut self) {
        if let Some(id) = self.id().filter(|id| id.ends_with("-code")) {
            self.head = self.head.replace(&format!(" id=\"{id}\""), "");
        }
        self.children.iter_mut().for_each(Self::forget_code_ids);
    }

    fn id(&self) -> Option<String> {
        let id = self
            .head
            .split(" id=\"")
            .nth(1)
            .filter(|_| !self.name.is_empty())?;
        Some(id.split('"').next()?.to_owned())
    }

    fn find(&self, id: &str) -> Option<&Self> {
        if self.id().as_deref() == Some(id) {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(id))
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Self> {
        if self.id().as_deref() == Some(id) {
            return Some(self);
        }
        self.children
            .iter_mut()
            .find_map(|child| child.find_mut(id))
    }

    fn swap(&mut self, id: &str, nodes: &[Self]) {
        let place = self
            .children
            .iter()
            .position(|child| child.id().as_deref() == Some(id));
        match place {
            Some(place) => {
                self.children.splice(place..=place, nodes.iter().cloned());
            }
            None => self
                .children
                .iter_mut()
                .for_each(|child| child.swap(id, nodes)),
        }
    }

    fn write(&self, html: &mut String) {
        if self.name.is_empty() {
            if !self.head.trim().is_empty() {
                html.push_str(&self.head);
            }
        } else {
            html.extend(["<", &self.head, ">"]);
        }
        self.children.iter().for_each(|child| child.write(html));
        if !self.name.is_empty() && !VOID.contains(&self.name.as_str()) {
            html.extend(["</", &self.name, ">"]);
        }
    }
}
