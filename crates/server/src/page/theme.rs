//! Light or dark: what the reader chose, known before the page is painted.
//!
//! The page keeps the choice in a cookie of its own, so that it comes with every request and the
//! first paint is right. Pomerium takes only its own cookie out of a request.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};

/// The cookie; the page sets it.
const COOKIE: &str = "toolgate-theme";

/// What the reader chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Nothing: as the system is.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

tokio::task_local! {
    /// The theme of the page that is being made. Every page has one, and none of what makes pages
    /// has to know.
    static CHOSEN: Theme;
}

impl Theme {
    /// The theme of the page that is being made.
    pub(crate) fn chosen() -> Self {
        CHOSEN.try_get().unwrap_or_default()
    }

    /// Its name in the cookie and in style sheets.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The value of `color-scheme` that stands for it.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::System => "light dark",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let pairs = lines.filter_map(|line| line.to_str().ok());
        let mut pairs = pairs.flat_map(|line| line.split(';'));
        let value = pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        match value {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            Some(_) | None => Self::System,
        }
    }
}

/// Makes the request's theme known to the page that answers it.
pub(crate) async fn choose(request: Request, next: Next) -> Response {
    let theme = Theme::of(request.headers());
    CHOSEN.scope(theme, next.run(request)).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Theme {
        let lines = lines.iter().map(|line| HeaderValue::from_static(line));
        Theme::of(&lines.map(|line| (header::COOKIE, line)).collect())
    }

    #[test]
    fn only_the_words_that_a_page_writes_choose() {
        for nothing in [
            "",
            "toolgate-theme",
            "toolgate-theme=",
            "toolgate-theme=\"><script>",
            "toolgate-theme=DARK",
            "xtoolgate-theme=dark",
            "a=toolgate-theme=dark",
        ] {
            assert_eq!(of(&[nothing]), Theme::System, "{nothing}");
        }
        assert_eq!(of(&[]), Theme::System);
        assert_eq!(of(&["toolgate-theme=dark"]), Theme::Dark);
        assert_eq!(of(&["a=b; toolgate-theme=light;c=d"]), Theme::Light);
        assert_eq!(of(&["a=b", "toolgate-theme=dark"]), Theme::Dark);
    }
}
