use super::*;

/// Every kind of block, in every neighbourhood that has fooled somebody.
const DOCUMENTS: &[&str] = &[
    "One line.\nAnother of the same paragraph.\n\nA second paragraph.",
    "# A heading\ntext right below\n## Another\n\nA setext heading\n===\n\nanother\n---\nend",
    "A paragraph\n- one\n- two\n\n  still two\n- three\n\nand out",
    "1. one\n2. two\n   ```rust\n   fn main() {}\n   ```\n3. three\n\n\n4. four\n\n* other list\n+ and another",
    "before\n```sql\nSELECT *\n\n\nFROM t;\n```\nafter",
    "~~~\n```\nnot the end\n```\n~~~\n\ntext\n\n    indented\n\n    code\n\ntext",
    "above\n| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\nbelow\n\nend",
    "> quoted\n> - list\nlazy\n\n> another quote\n***\n- - -\nend",
    "<div>\n*not markdown*\n\n*markdown*\n</div>\n\n<!-- a\n\nb -->\ntext",
    "- [x] done\n- [ ] to do\n\n~~gone~~ https://example.com and www.example.com",
    "[a]: https://example.com\n\ntext [a] and [b]\n[c]: x\n\n```\n[d]: y\n```\n[e]: z\n\nend",
    "\u{feff}\n\n   \n\nafter blank lines\r\nwindows\r\n\r\n- list\r\n- end\r\n",
    "a line that ends\rin an old way\r\rnew paragraph",
    "a\\\nb  \nc\n\n\\# no heading",
    "```\nnever closed\n\n# no heading",
    "``` `` not a fence\n\n````\n```\n````\n",
];

/// The HTML of one block.
fn html(source: &str) -> String {
    Blocks::default().html(source)
}

/// The HTML of a document, block by block.
fn by_block(document: &str) -> Vec<String> {
    let mut blocks = Blocks::default();
    blocks.push(document);
    let sources = blocks.finish();
    assert_eq!(sources.concat(), document, "nothing is lost");
    sources.iter().map(|source| blocks.html(source)).collect()
}

#[test]
fn block_by_block_is_what_the_whole_is() {
    for document in DOCUMENTS {
        assert_eq!(by_block(document).concat(), html(document), "{document:?}");
    }
}

#[test]
fn however_the_text_arrives_the_closed_blocks_are_the_same() {
    for document in DOCUMENTS {
        let whole = by_block(document);
        for size in 1..12 {
            let mut blocks = Blocks::default();
            let mut closed = Vec::new();
            let chars: Vec<char> = document.chars().collect();
            for piece in chars.chunks(size) {
                blocks.push(&piece.iter().collect::<String>());
                closed.extend(blocks.take_closed());
                let _shown = blocks.open();
            }
            closed.extend(blocks.finish());
            let closed: Vec<_> = closed.iter().map(|source| blocks.html(source)).collect();
            assert_eq!(closed, whole, "{document:?} in pieces of {size}");
        }
    }
}

#[test]
fn an_open_fence_only_grows() {
    let source = "```rust\nfn main() {\n    println!(\"``\");\n}\n`` not yet\n```";
    let mut blocks = Blocks::default();
    let mut shown = String::new();
    let mut looks = 0;
    for c in source.chars() {
        blocks.push(&c.to_string());
        assert_eq!(blocks.take_closed(), Vec::<String>::new());
        let Some(Open::Code { language, text }) = blocks.open() else {
            continue;
        };
        assert_eq!(language, "rust");
        assert!(
            text.starts_with(&shown),
            "{text:?} does not go on from {shown:?}"
        );
        shown = text;
        looks += 1;
    }
    assert!(looks > 40, "it was shown while it grew: {looks}");
    assert_eq!(shown, "fn main() {\n    println!(\"``\");\n}\n`` not yet\n");
    blocks.push("\nAfter.\n\nMore.");
    let closed = blocks.take_closed();
    let whole = "fn main() {\n    println!(\"``\");\n}\n`` not yet\n".to_owned();
    assert_eq!(code_in(&closed[0]), Some(("rust".to_owned(), whole)));
}

#[test]
fn a_mark_that_can_still_become_anything_is_not_shown() {
    for (text, shown) in [
        ("Paragraph\n-", "<p>Paragraph</p>\n"),
        ("Paragraph\n==", "<p>Paragraph</p>\n"),
        (
            "Paragraph\n- item",
            "<p>Paragraph</p>\n<ul>\n<li>item</li>\n</ul>\n",
        ),
        ("Paragraph\n``", "<p>Paragraph</p>\n"),
    ] {
        let mut blocks = Blocks::default();
        blocks.push(text);
        assert_eq!(
            blocks.open(),
            Some(Open::Html(shown.to_owned())),
            "{text:?}"
        );
    }
    let mut blocks = Blocks::default();
    blocks.push("##");
    assert_eq!(blocks.open(), None);
}

#[test]
fn hostile_text_stays_text() {
    for hostile in [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<svg/onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](//evil.example)",
        "[x](/.pomerium/sign_out)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "![x](https://evil.example/pixel.png)",
        "[![x](https://evil.example/pixel.png)](https://evil.example)",
        "```\"><script>alert(1)</script>\n</code><script>\n```",
        "```x\" onmouseover=\"alert(1)\ncode\n```",
        "| <script> | \"onload= |\n|---|---|\n| <iframe src=x> | </td></table><script> |",
        "# <style>*{display:none}</style>",
        "[a]: javascript:alert(1)\n\n[a]",
        "<a href=\"https://evil.example\" style=\"position:fixed\">x</a>",
        "[x](https://a.example/\" onclick=\"alert(1))",
        "<form action=/x><input name=y></form>",
    ] {
        let html = html(hostile).to_lowercase();
        let tags = html
            .split('<')
            .skip(1)
            .filter_map(|tag| tag.split_once('>'));
        let tags: String = tags.flat_map(|(tag, _)| ["<", tag, ">"]).collect();
        for forbidden in [
            "<script",
            "<img",
            "<svg",
            "<iframe",
            "<style",
            "<form",
            "<input",
            "href=\"java",
            "href=\"data",
            "href=\"/",
            "href=\"vb",
            "\" on",
            " style=",
            "src=\"",
        ] {
            assert!(!tags.contains(forbidden), "{hostile:?} became {html}");
        }
        assert!(html.matches("<a").count() <= 1, "no link in a link: {html}");
    }
}

#[test]
fn links_open_elsewhere_and_tell_nothing() {
    insta::assert_snapshot!(
        html("[a *b*](https://example.com/?q=<x>&y) <ana@example.com>"),
        @r#"<p><a href="https://example.com/?q=%3Cx%3E&amp;y" target="_blank" rel="noopener noreferrer nofollow">a <em>b</em></a> <a href="mailto:ana@example.com" target="_blank" rel="noopener noreferrer nofollow">ana@example.com</a></p>"#
    );
}

#[test]
fn code_says_its_language_and_can_be_copied() {
    assert_eq!(
        html("```sql x\nSELECT '<b>'\n```"),
        "<div class=\"code\"><p class=\"code-bar\"><span>sql</span>\
         <button type=\"button\" class=\"quiet\" data-do=\"copy-code\" aria-label=\"Copy the code\">\
         Copy</button></p><pre role=\"group\" aria-label=\"Code\" tabindex=\"0\">\
         <code class=\"language-sql\">SELECT '&lt;b&gt;'\n</code></pre></div>\n"
    );
    let grown = code("", "a & b", "id-1");
    assert!(grown.contains("<span>code</span>"), "{grown}");
    assert!(
        grown.contains("<code id=\"id-1\">a &amp; b</code>"),
        "{grown}"
    );
}

#[test]
fn an_image_is_a_link_to_it() {
    insta::assert_snapshot!(
        html("![a *view*](https://example.com/a.png) ![](https://example.com/b.png) ![c](c.png)"),
        @r#"<p><a class="image" href="https://example.com/a.png" target="_blank" rel="noopener noreferrer nofollow">a view</a> <a class="image" href="https://example.com/b.png" target="_blank" rel="noopener noreferrer nofollow">image</a> <span class="image">c</span></p>"#
    );
}

#[test]
fn headings_stay_below_the_pages_own() {
    for (levels, shown) in [
        (vec![1, 4, 6], vec![3, 4, 5]),
        (vec![2, 3, 2, 3], vec![3, 4, 3, 4]),
        (vec![3, 1, 3, 2, 3], vec![3, 3, 4, 4, 5]),
        (vec![1, 2, 3, 4, 5, 6], vec![3, 4, 5, 6, 6, 6]),
    ] {
        let heading = |level: &usize| format!("{} a\n\n", "#".repeat(*level));
        let source: String = levels.iter().map(heading).collect();
        let expected = shown
            .iter()
            .map(|level| format!("<h{level}>a</h{level}>\n"));
        assert_eq!(by_block(&source).concat(), expected.collect::<String>());
    }
}

#[test]
fn columns_keep_their_sides() {
    insta::assert_snapshot!(html("| a | b | c |\n|---|--:|:-:|\n| 1 | 2 | 3 |"), @r#"
    <div class="scroll" role="group" aria-label="Table" tabindex="0">
    <table>
    <thead>
    <tr><th>a</th><th class="right">b</th><th class="center">c</th>
    </tr>
    </thead>
    <tbody>
    <tr><td>1</td><td class="right">2</td><td class="center">3</td>
    </tr>
    </tbody>
    </table>
    </div>
    "#);
}
