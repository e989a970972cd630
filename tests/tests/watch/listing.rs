//! `--watch` of listings in a real terminal: in place, without a gap, and the last one stays.

use bridgefwd_tests::{needs_programs, needs_root};

use crate::rig::{Crowd, Rig};
use crate::terminal::Terminal;

#[test]
fn what_changes_changes_in_its_place() {
    needs_root!();
    needs_programs!("tmux");
    let rig = Rig::new();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 80, 24);
    let command = "pair list --watch 0.1; echo \"ended $?\"";
    terminal.command(&rig.bridgefwd, "", command);
    terminal.until("the pairs", |screen| {
        screen.starts_with("Every 100ms: bridgefwd ") && screen.contains("br-a  br-b  allowed")
    });
    rig.bridgefwd.ok(&["pair", "deny", "br-a", "br-b"]);
    terminal.until("the change", |screen| screen.contains("br-a  br-b  denied"));
    // However often it is drawn, it is all there, once.
    for _ in 0..30 {
        let screen = terminal.screen();
        assert_eq!(screen.matches("FROM").count(), 1, "{screen}");
        assert!(screen.contains("br-a  br-c") && screen.contains("q to end"), "{screen}");
    }
    for key in ["C-c", "q"] {
        terminal.keys(&[key]);
        terminal.until("the prompt again, below the last list", |screen| {
            screen.trim_end().ends_with("ended 0\n$") && screen.contains("br-a  br-b  denied")
        });
        if key == "C-c" {
            terminal.keys(&["-l", "clear"]);
            terminal.keys(&["Enter"]);
            terminal.command(&rig.bridgefwd, "", command);
            terminal.until("the pairs", |screen| screen.contains("q to end"));
        }
    }
}

#[test]
fn what_does_not_fit_is_gone_through() {
    needs_root!();
    needs_programs!("tmux");
    let crowd = Crowd::new(200);
    let terminal = Terminal::open(&crowd.router.ns, &crowd.bridgefwd, 80, 24);
    terminal.command(&crowd.bridgefwd, "", "flows --watch 0.2");
    terminal.until("the first of them", |screen| {
        screen.contains("lines 1 to 21 of ") && screen.contains("FROM")
    });
    let screen = terminal.screen();
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    terminal.keys(&["PageDown"]);
    terminal.until("others", |screen| screen.contains("lines 22 to 42 of "));
    terminal.keys(&["Home"]);
    terminal.until("the first of them", |screen| screen.contains("lines 1 to 21 of "));
    terminal.keys(&["q"]);
    terminal.until("the prompt", |screen| screen.trim_end().ends_with('$'));
}
