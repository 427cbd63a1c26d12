//! Which representation a request asks for, by its `Accept` (RFC 9110 section 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// The kinds of answer that Pomerium can give, in the order that settles a tie.
const OFFERED: [(&str, Wanted); 3] = [
    ("text/html", Wanted::Page),
    ("application/json", Wanted::Json),
    ("text/plain", Wanted::Text),
];

/// What a request would rather have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A page; also when there is no `Accept`, or one that offers nothing we have.
    Page,
    /// JSON.
    Json,
    /// Plain text: never redirected, and given a page.
    Text,
}

/// Judges the request's `Accept`: the media range with the greatest weight decides, of two alike
/// the more specific one, of two alike again the first.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let mut ranges: Vec<(f32, usize, String)> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(read_range)
        .collect();
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    ranges
        .iter()
        .find_map(|(_, _, range)| {
            OFFERED
                .into_iter()
                .find(|(media_type, _)| covers(range, media_type))
        })
        .map_or(Wanted::Page, |(_, wanted)| wanted)
}

/// Weight, specificity and media range; a weight of zero is a refusal and left out.
fn read_range(text: &str) -> Option<(f32, usize, String)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts
        .find_map(|parameter| parameter.strip_prefix("q="))
        .map_or(Some(1.0), |weight| weight.parse().ok())?;
    let specificity = range.split('/').filter(|part| *part != "*").count();
    (weight > 0.0).then(|| (weight, specificity, range.to_ascii_lowercase()))
}

fn covers(range: &str, media_type: &str) -> bool {
    range == "*/*"
        || range == media_type
        || range
            .strip_suffix('*')
            .is_some_and(|start| start.ends_with('/') && media_type.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_judged_as_pomerium_does() {
        for (accept, expected) in [
            ("", Wanted::Page),
            ("*/*", Wanted::Page),
            ("text/html", Wanted::Page),
            ("text/event-stream", Wanted::Page),
            ("application/json", Wanted::Json),
            ("application/json, text/event-stream", Wanted::Json),
            ("application/json, text/plain, */*", Wanted::Json),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Wanted::Page,
            ),
            ("text/html;q=0.5, application/json", Wanted::Json),
            ("application/json;q=0, */*", Wanted::Page),
            ("application/*", Wanted::Json),
            ("text/plain", Wanted::Text),
            ("garbage", Wanted::Page),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(wanted(&headers), expected, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Wanted::Page);
    }
}
