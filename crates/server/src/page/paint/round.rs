//! A round in pieces: its reasoning and text grow while it is read.

use chat::{
    ids::RoundId,
    transcript::{RoundItem, RoundState},
};
use tokio::time::{Duration, Instant};

use super::super::{
    part::{Grown, Part},
    patch::Patch,
    render,
    round::{self, Thoughts},
    visible,
};
use crate::markdown::{self, Blocks, Open};

/// How often an open block is replaced: up to so many bytes, no sooner than this after the last
/// time. Each time costs its whole length, here and in every page.
const REPLACED_APART: [(usize, Duration); 3] = [
    (4 * 1024, Duration::from_millis(100)),
    (16 * 1024, Duration::from_millis(250)),
    (usize::MAX, Duration::from_secs(1)),
];

/// A round that was painted.
pub(super) struct Round {
    id: String,
    /// The reasoning and the text as they were taken up.
    reasoning: String,
    text: String,
    state: RoundState,
    thoughts: Option<Grown>,
    /// For how long it reasoned.
    reasoned: Part,
    source: Blocks,
    blocks: Vec<Block>,
    /// The last of `blocks` is open.
    last_is_open: bool,
    /// Text came that the open block does not show yet.
    held_back: bool,
    replaced: Option<Instant>,
    note: Part,
}

/// A block of the answer.
struct Block {
    created: u64,
    kind: BlockKind,
}

enum BlockKind {
    Html(Part),
    Code { language: String, text: Grown },
}

/// What is new about a round.
pub(super) struct RoundNews {
    pub(super) round: RoundId,
    state: RoundState,
    /// What was shown no longer counts; else the texts are what was added.
    pub(super) is_from_the_start: bool,
    reasoning: String,
    text: String,
    reasoned: String,
}

impl RoundNews {
    /// What is new about the round for one that was `painted` so.
    pub(super) fn of(item: &RoundItem, painted: Option<&Round>) -> Self {
        let more = painted.and_then(|round| {
            let reasoning = item.reasoning.strip_prefix(&round.reasoning)?;
            Some((reasoning, item.text.strip_prefix(&round.text)?))
        });
        let (reasoning, text) = more.unwrap_or((&item.reasoning, &item.text));
        Self {
            round: item.round,
            state: item.state.clone(),
            is_from_the_start: more.is_none(),
            reasoning: reasoning.to_owned(),
            text: text.to_owned(),
            reasoned: round::reasoned_words(item),
        }
    }
}

impl Round {
    pub(super) fn new(id: &str) -> Self {
        let mut round = Self {
            id: id.to_owned(),
            reasoning: String::new(),
            text: String::new(),
            state: RoundState::Open,
            thoughts: None,
            reasoned: Part::default(),
            source: Blocks::default(),
            blocks: Vec::new(),
            last_is_open: false,
            held_back: false,
            replaced: None,
            note: Part::default(),
        };
        round.note.html = round::note(&round.note_id(), &round.state, "");
        round
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, RoundState::Open | RoundState::Retrying { .. })
    }

    /// Takes up what is new; [`Self::settle`] renders it.
    pub(super) fn take(&mut self, news: RoundNews, version: u64) {
        if news.is_from_the_start {
            *self = Self::new(&self.id);
        }
        self.think(&news.reasoning, version);
        let reasoned = round::reasoned(&self.reasoned_id(), &news.reasoned);
        self.reasoned.set(reasoned, version);
        if !news.text.is_empty() {
            self.text.push_str(&news.text);
            self.source.push(&visible(&news.text));
            self.held_back = true;
        }
        self.state = news.state;
        self.note.set(
            round::note(&self.note_id(), &self.state, &self.text),
            version,
        );
    }

    /// Renders what is due; says when the rest is.
    pub(super) fn settle(&mut self, version: u64, now: Instant) -> Option<Instant> {
        let sources = if self.is_open() {
            self.source.take_closed()
        } else {
            self.source.finish()
        };
        for source in sources {
            self.close_block(&source, version);
            self.replaced = None;
        }
        if !self.held_back {
            return None;
        }
        let wait = apart(self.source.open_bytes());
        let due = self.replaced.map(|last| last + wait);
        if let Some(due) = due.filter(|due| *due > now) {
            return Some(due);
        }
        self.held_back = false;
        match self.source.open() {
            None => {}
            Some(Open::Html(html)) => {
                self.replaced = Some(now);
                self.show_open(html, version);
            }
            Some(Open::Code { language, text }) => self.show_code(language, &text, version),
        }
        None
    }

    pub(super) fn html(&self) -> String {
        let blocks: String = (0..)
            .zip(&self.blocks)
            .map(|(n, block)| self.block(n, block))
            .collect();
        render(&round::Round {
            id: &self.id,
            thoughts: &self.thoughts_html(),
            blocks: &blocks,
            note: &self.note.html,
        })
    }

    /// What a reader of version `seen` misses.
    pub(super) fn news(&self, seen: u64, patches: &mut Vec<Patch>) {
        if let Some(thoughts) = &self.thoughts {
            if thoughts.is_new(seen) {
                let place = format!("{}-think", self.id);
                patches.push(Patch::append(place, self.thoughts_html()));
            } else {
                patches.extend(self.reasoned.news(&self.reasoned_id(), seen));
                let more = thoughts.since(seen);
                if !more.is_empty() {
                    let place = format!("{}-thoughts", self.id);
                    patches.push(Patch::append(place, markdown::escape(more)));
                }
            }
        }
        for (n, block) in (0..).zip(&self.blocks) {
            if block.created > seen {
                let place = format!("{}-blocks", self.id);
                patches.push(Patch::append(place, self.block(n, block)));
                continue;
            }
            match &block.kind {
                BlockKind::Html(part) => {
                    let changed = part.news(&self.block_id(n), seen);
                    patches.extend(changed.map(|patch| patch.with_html(self.block(n, block))));
                }
                BlockKind::Code { text, .. } if text.is_new(seen) => {
                    patches.push(Patch::replace(self.block_id(n), self.block(n, block)));
                }
                BlockKind::Code { text, .. } => {
                    let more = text.since(seen);
                    if !more.is_empty() {
                        patches.push(Patch::append(self.code_id(n), markdown::escape(more)));
                    }
                }
            }
        }
        patches.extend(self.note.news(&self.note_id(), seen));
    }

    fn think(&mut self, more: &str, version: u64) {
        self.reasoning.push_str(more);
        let more = visible(more);
        match &mut self.thoughts {
            Some(thoughts) => thoughts.grow(&more, version),
            None if more.is_empty() => {}
            None => self.thoughts = Some(Grown::new(more, version)),
        }
    }

    /// A block has all its text.
    fn close_block(&mut self, source: &str, version: u64) {
        let open = self.last_is_open.then(|| self.blocks.last_mut()).flatten();
        self.last_is_open = false;
        let Some(open) = open else {
            let html = self.source.html(source);
            self.push(BlockKind::Html(Part::new(html, version)), version);
            return;
        };
        match &mut open.kind {
            BlockKind::Html(part) => part.set(self.source.html(source), version),
            BlockKind::Code { language, text } => {
                let whole = markdown::code_in(source);
                let grown = whole.as_ref().filter(|(named, _)| named == language);
                match grown.and_then(|(_, whole)| whole.strip_prefix(text.text())) {
                    Some(more) => text.grow(more, version),
                    None => {
                        open.kind = BlockKind::Html(Part::new(self.source.html(source), version));
                    }
                }
            }
        }
    }

    /// The open block is `html` so far.
    fn show_open(&mut self, html: String, version: u64) {
        match self.blocks.last_mut().filter(|_| self.last_is_open) {
            Some(Block {
                kind: BlockKind::Html(part),
                ..
            }) => part.set(html, version),
            Some(block) => block.kind = BlockKind::Html(Part::new(html, version)),
            None => self.push(BlockKind::Html(Part::new(html, version)), version),
        }
        self.last_is_open = true;
    }

    /// The open block is code so far.
    fn show_code(&mut self, language: String, code: &str, version: u64) {
        let fresh = |language| BlockKind::Code {
            language,
            text: Grown::new(code.to_owned(), version),
        };
        match self.blocks.last_mut().filter(|_| self.last_is_open) {
            None => self.push(fresh(language), version),
            Some(block) => match &mut block.kind {
                BlockKind::Code {
                    language: named,
                    text,
                } if *named == language => match code.strip_prefix(text.text()) {
                    Some(more) => text.grow(more, version),
                    None => block.kind = fresh(language),
                },
                BlockKind::Code { .. } | BlockKind::Html(_) => block.kind = fresh(language),
            },
        }
        self.last_is_open = true;
    }

    fn push(&mut self, kind: BlockKind, version: u64) {
        self.blocks.push(Block {
            created: version,
            kind,
        });
    }

    fn thoughts_html(&self) -> String {
        match &self.thoughts {
            None => String::new(),
            Some(thoughts) => render(&Thoughts {
                id: &self.id,
                summary: &self.reasoned.html,
                text: thoughts.text(),
            }),
        }
    }

    /// A block in its element.
    fn block(&self, n: usize, block: &Block) -> String {
        let html = match &block.kind {
            BlockKind::Html(part) => part.html.clone(),
            BlockKind::Code { language, text } => {
                markdown::code(language, text.text(), &self.code_id(n))
            }
        };
        format!(
            "<div class=\"block\" dir=\"auto\" id=\"{}\">{html}</div>",
            self.block_id(n)
        )
    }

    fn block_id(&self, n: usize) -> String {
        format!("{}-b{n}", self.id)
    }

    fn code_id(&self, n: usize) -> String {
        format!("{}-b{n}-code", self.id)
    }

    fn reasoned_id(&self) -> String {
        format!("{}-reasoned", self.id)
    }

    fn note_id(&self) -> String {
        format!("{}-note", self.id)
    }
}

fn apart(bytes: usize) -> Duration {
    let step = REPLACED_APART.iter().find(|(up_to, _)| bytes <= *up_to);
    step.map(|(_, apart)| *apart).unwrap_or_default()
}
