use super::*;

#[test]
fn text_that_turns_other_text_around_is_spelled_out() {
    assert_eq!(visible("a\u{202e}b\u{2066}c"), "a\\u202eb\\u2066c");
    let right_to_left = "שלום\u{200f} עולם";
    assert_eq!(visible(right_to_left), right_to_left);
}
