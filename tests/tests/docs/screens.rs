//! The screen in README.md is the one that the tests of `bridgefwd top` draw.

use super::text;

#[test]
fn is_the_one_that_is_drawn() {
    let screen = text("docs/top-80x24.txt");
    let quoted: String =
        screen.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
    assert!(text("README.md").contains(&quoted), "README.md does not have\n{quoted}");
}
