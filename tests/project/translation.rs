//! Tests that the Chinese README has the same structure as the English one.

use super::markdown::Document;
use super::read;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";

#[test]
fn chinese_readme_matches_the_english_one() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    let (english, chinese) = (Document::parse(&english), Document::parse(&chinese));
    assert_eq!(chinese.headings(), english.headings(), "levels of headings");
    assert_eq!(chinese.code, english.code, "blocks of code");
    assert_eq!(chinese.tables(), english.tables(), "rows of tables");
    let mut expected = english.links();
    let other = expected.iter_mut().find(|link| **link == CHINESE).expect("README.md links the translation");
    *other = ENGLISH;
    expected.sort_unstable();
    assert_eq!(chinese.links(), expected, "targets of links");
}
