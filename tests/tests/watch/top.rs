//! `bridgefwd top` in a real terminal.

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::traffic::{connect_within, ping, say};
use bridgefwd_tests::wait::{PATIENCE, until};
use bridgefwd_tests::{needs_programs, needs_root};

use crate::rig::{Crowd, Rig};
use crate::terminal::Terminal;

/// Starts `top` in a terminal.
#[track_caller]
fn start(terminal: &Terminal<'_>, bridgefwd: &Bridgefwd, before: &str, options: &str) {
    terminal.command(bridgefwd, before, &format!("top --every 100ms {options}"));
}

#[test]
fn shows_what_is_so_and_a_toggle_holds_on_the_wire() {
    needs_root!();
    needs_programs!("tmux");
    let mut rig = Rig::new();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 80, 24);
    start(&terminal, &rig.bridgefwd, "", "");
    terminal.until("pairs and flows", |screen| {
        ["br-a -> br-b", "✓ allowed", "10.1.0.2:10000", "10.2.0.2:80", "10.2.0.1", "2 flows"]
            .iter()
            .all(|part| screen.contains(part))
    });
    let text = "x".repeat(10_000);
    let (near, far) = &mut rig.connection;
    until("a rate", || {
        say(near, far, &text);
        terminal.screen().contains("bit/s")
    });
    // The busiest is selected. Another key than y changes nothing.
    let (a, b) = (&rig.router.hosts[0], &rig.router.hosts[1]);
    terminal.keys(&["t"]);
    terminal.until("the question", |screen| screen.contains("Deny br-a -> br-b?"));
    terminal.keys(&["n"]);
    terminal.until("an answer", |screen| screen.contains("nothing was changed"));
    assert_eq!(ping(&a.ns, b.address, 7, 1, PATIENCE), 1);
    terminal.keys(&["t"]);
    terminal.until("the question", |screen| screen.contains("Deny br-a -> br-b?"));
    terminal.keys(&["y"]);
    terminal.until("it is denied", |screen| screen.contains("br-a -> br-b: denied"));
    let short = std::time::Duration::from_millis(300);
    assert!(connect_within(short, &a.ns, 0, b.at(80)).is_err(), "denied, yet it got through");
    terminal.keys(&["t", "y"]);
    terminal.until("it is allowed", |screen| screen.contains("br-a -> br-b: allowed"));
    assert_eq!(ping(&a.ns, b.address, 8, 1, PATIENCE), 1);
    // One flow, all of it.
    terminal.keys(&["/"]);
    terminal.keys(&["-l", "tcp 10000"]);
    terminal.keys(&["Enter", "Tab", "Enter"]);
    let translated = "translated  10.2.0.1:10000 -> 10.2.0.2:80";
    terminal.until("the flow", |screen| screen.contains(translated));
    terminal.keys(&["Escape"]);
    // With what follows at once it would be another key.
    terminal.until("the lists again", |screen| !screen.contains("translated"));
    terminal.keys(&["?"]);
    terminal.until("help", |screen| screen.contains("reasons in place of flows"));
    terminal.keys(&["?", "r"]);
    terminal.until("reasons", |screen| screen.contains("pair_denied"));
    terminal.keys(&["q"]);
    terminal.until("the shell again", |screen| screen.trim_end().ends_with('$'));
}

#[test]
fn follows_its_size() {
    needs_root!();
    needs_programs!("tmux");
    let rig = Rig::new();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 120, 40);
    start(&terminal, &rig.bridgefwd, "", "");
    terminal.until("a wide screen", |screen| screen.contains("OPENED"));
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    terminal.until("a small screen", |screen| {
        !screen.contains("OPENED") && screen.contains("br-a -> br-b") && screen.contains("? help")
    });
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.until("both lists", |screen| screen.contains("SEEN AS") && screen.contains("REFUSED"));
}

#[test]
fn gives_the_terminal_back_when_it_is_ended() {
    needs_root!();
    needs_programs!("tmux");
    let rig = Rig::new();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 80, 24);
    for signal in ["TERM", "HUP", "INT"] {
        start(&terminal, &rig.bridgefwd, "", "; echo \"ended $?\"");
        terminal.until("the view", |screen| screen.contains("FROM -> TO"));
        let pid = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = rig.router.ns.command("pgrep", &["-P", pid.trim()]);
        rig.router.ns.command("kill", &[&format!("-{signal}"), children.trim()]);
        terminal.until("the shell again", |screen| screen.contains("ended 0"));
        // What is typed is seen again, and a line begins at the left.
        terminal.keys(&["-l", "clear; echo back"]);
        terminal.keys(&["Enter"]);
        terminal.until("an echo", |screen| screen.starts_with("back\n$"));
    }
}

/// Does any escape sequence set the colour of text?
fn has_colour(screen: &str) -> bool {
    let sequences = screen.split("\x1b[").skip(1).filter_map(|rest| rest.split_once('m'));
    let mut numbers = sequences.flat_map(|(sequence, _)| sequence.split(';'));
    numbers.any(|number| number.parse().is_ok_and(|number: u8| (30..39).contains(&number)))
}

#[test]
fn colours_are_used_unless_they_are_not_wanted() {
    needs_root!();
    needs_programs!("tmux");
    let rig = Rig::new();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 80, 24);
    for (before, coloured) in [("", true), ("NO_COLOR=1", false)] {
        start(&terminal, &rig.bridgefwd, before, "");
        terminal.until("the view", |screen| screen.contains("✓ allowed"));
        assert_eq!(has_colour(&terminal.coloured()), coloured, "{before}");
        terminal.keys(&["q"]);
        terminal.until("the shell again", |screen| screen.trim_end().ends_with('$'));
    }
}

#[test]
fn without_a_daemon_it_reads_the_pins_and_finds_one_that_comes_back() {
    needs_root!();
    needs_programs!("tmux");
    let mut rig = Rig::new();
    rig.bridgefwd.kill();
    let terminal = Terminal::open(&rig.router.ns, &rig.bridgefwd, 80, 24);
    start(&terminal, &rig.bridgefwd, "", "");
    terminal.until("the pins are read", |screen| {
        screen.contains("NO DAEMON") && screen.contains("2 flows") && screen.contains("✓ allowed")
    });
    terminal.keys(&["t"]);
    terminal.until("a kind word", |screen| screen.contains("there is no daemon to change a pair"));
    rig.bridgefwd.start(&["--bridge", "br-a", "br-b", "br-c"]);
    terminal.until("the daemon", |screen| screen.contains(": up "));
}

#[test]
fn once_is_a_frame_for_pipes_and_without_it_a_pipe_is_refused() {
    needs_root!();
    let rig = Rig::new();
    let frame = rig.bridgefwd.ok(&["top", "--once", "--every", "100ms"]);
    for part in ["✓ allowed", "✕ denied", "10.1.0.2:10000", "2 flows"] {
        assert!(frame.contains(part), "{part} in\n{frame}");
    }
    assert!(!frame.contains('\x1b'));
    let refused = rig.bridgefwd.cli(&["top"]);
    assert_eq!((refused.status, &refused.stdout[..]), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("top --once"), "{refused:?}");
}

#[test]
fn ten_thousand_flows_and_a_hundred_pairs() {
    needs_root!();
    needs_programs!("tmux");
    let crowd = Crowd::new(10_000);
    let terminal = Terminal::open(&crowd.router.ns, &crowd.bridgefwd, 80, 24);
    start(&terminal, &crowd.bridgefwd, "", "");
    terminal.until("all of them", |screen| {
        screen.contains("10000 flows, by rate") && screen.contains("110 pairs listed")
    });
    terminal.keys(&["/"]);
    terminal.keys(&["-l", ":20077"]);
    terminal.until("one of them", |screen| screen.contains("1 of 10000 flows"));
    terminal.keys(&["Enter", "m"]);
    terminal.until("the matrix", |screen| {
        screen.contains("11 ends") && screen.contains("columns beside")
    });
}
