//! A real terminal: tmux is one that can be looked at and typed into.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use bridgefwd_tests::bridgefwd::{Bridgefwd, binary};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::wait::{PATIENCE, poll};

/// A shell in a terminal of its own, inside a namespace.
pub struct Terminal<'a> {
    ns: &'a Namespace,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Opens it, and waits for the prompt.
    #[must_use]
    #[track_caller]
    pub fn open(ns: &'a Namespace, bridgefwd: &Bridgefwd, columns: u16, lines: u16) -> Self {
        let terminal = Self { ns, socket: bridgefwd.folder().join("tmux") };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let size = ["-x", &columns, "-y", &lines];
        // Without anybody's own settings.
        let shell = "PS1='$ ' exec sh";
        terminal.tmux(&[&["-f", "/dev/null", "new-session", "-d"], &size[..], &[shell]].concat());
        terminal.until("a prompt", |screen| screen.starts_with('$'));
        terminal
    }

    /// Types a line, and Enter.
    #[track_caller]
    pub fn line(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    /// Types the line of a command of bridgefwd.
    #[track_caller]
    pub fn command(&self, bridgefwd: &Bridgefwd, before: &str, command: &str) {
        self.line(&format!(
            "{before} {} --socket {} --pin-dir {} {command}",
            binary().display(),
            bridgefwd.socket().display(),
            bridgefwd.pin_dir.display()
        ));
    }

    /// Presses keys, by tmux' names for them.
    #[track_caller]
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// What is on it.
    #[must_use]
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with the escape sequences of colours.
    #[track_caller]
    #[must_use]
    pub fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until that holds of what is on it.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let held = poll(PATIENCE, || {
            last = self.screen();
            holds(&last).then_some(())
        });
        assert!(held.is_some(), "waited in vain: {what}; the screen is\n{last}");
    }

    /// Runs a command of tmux.
    #[track_caller]
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.ns.run(|| {
            let mut command = Command::new("tmux");
            command.arg("-S").arg(&self.socket).args(arguments);
            command.env_remove("TMUX").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
            command.env_remove("NO_COLOR").stdin(Stdio::null());
            command.output().expect("tmux")
        });
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
