//! Completions as shells ask for them: commands, options, and the names that there are at that moment.

use std::process::Command;
use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::{Bridgefwd, Output, binary, output_in};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};

/// Longer than anybody waits for a key to do something.
const TOO_LONG: Duration = Duration::from_secs(3);

/// Asks as a shell does about the last of these words.
#[track_caller]
fn ask(ns: Option<&Namespace>, shell: &str, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .env("BRIDGEFWD_COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        // No engine of the machine's own.
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .arg("--")
        .args(words);
    let begin = Instant::now();
    let output = run(ns, &mut command);
    assert!(begin.elapsed() < TOO_LONG, "{words:?}: {:?}", begin.elapsed());
    assert_eq!(output.stderr, "", "a word would stand in the middle of the line: {words:?}");
    output
}

/// Runs it to its end, in a namespace or where we are.
fn run(ns: Option<&Namespace>, command: &mut Command) -> Output {
    if let Some(ns) = ns {
        return output_in(ns, command);
    }
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().unwrap_or(-1);
    Output { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// What bash is offered.
#[track_caller]
fn offered(ns: Option<&Namespace>, words: &[&str]) -> Vec<String> {
    let output = ask(ns, "bash", words);
    assert_eq!(output.status, 0, "{words:?}: {output:?}");
    output.stdout.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn names_are_those_that_there_are() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    let socket = bridgefwd.socket();
    let socket = socket.to_str().expect("text");
    let names = |words: &[&str]| {
        offered(Some(&router.ns), &[&["bridgefwd", "--socket", socket], words].concat())
    };
    // br-c is there, and not managed.
    assert_eq!(names(&["pair", "allow", "br"]), ["br-a", "br-b"]);
    assert_eq!(names(&["pair", "allow", "x"]), [""; 0]);
    assert_eq!(names(&["pair", "deny", "br-a", "br"]), ["br-b"]);
    assert_eq!(names(&["pair", "clear", "br"]), ["br-a"]);
    assert_eq!(names(&["pair", "clear", "br-a", "br"]), ["br-b"]);
    assert_eq!(names(&["pair", "clear", "br-b", "br"]), [""; 0]);
    assert_eq!(names(&["flows", "--from", "br"]), ["br-a", "br-b"]);
    assert_eq!(names(&["run", "--bridge", "br"]), ["br-a", "br-b", "br-c"]);
    assert_eq!(names(&["explain", "outs"]), ["outside"]);
    bridgefwd.ok(&["pair", "allow", "br-b", "br-a"]);
    assert_eq!(names(&["pair", "clear", "br"]), ["br-a", "br-b"], "as it is now");
    // Other shells are told what each is.
    let words = ["bridgefwd", "--socket", socket, "pair", "allow", "br-a"];
    let fish = ask(Some(&router.ns), "fish", &words).stdout;
    assert!(fish.starts_with("br-a\tbridge 10.1.0.1/24"), "{fish}");
    let zsh = ask(Some(&router.ns), "zsh", &words).stdout;
    assert!(zsh.starts_with("br-a:bridge 10.1.0.1/24"), "{zsh}");
}

#[test]
fn without_a_daemon_names_are_those_of_the_host() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let offered = |words: &[&str]| {
        let line = ["bridgefwd", "--socket", "/nonexistent/bridgefwd.sock"];
        offered(Some(&router.ns), &[&line, words].concat())
    };
    assert_eq!(offered(&["pair", "allow", "br"]), ["br-a", "br-b", "br-c"]);
    assert_eq!(offered(&["pair", "clear", "br"]), [""; 0]);
    assert_eq!(offered(&["--netns", "no-such-namespace", "pair", "allow", "br"]), [""; 0]);
}

#[test]
fn namespaces_are_looked_into() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let elsewhere = Namespace::new("elsewhere");
    let name = router.ns.name();
    let offered = |words: &[&str]| offered(Some(&elsewhere), &[&["bridgefwd"], words].concat());
    assert_eq!(offered(&["--netns", name]), [name]);
    assert_eq!(offered(&["inspect", name]), [name]);
    let names = offered(&["--netns", name, "pair", "allow", "br"]);
    assert_eq!(names, ["br-a", "br-b", "br-c"]);
    assert_eq!(offered(&["pair", "allow", "br"]), [""; 0]);
}

#[test]
fn commands_options_and_values_as_ever() {
    let offered = |words: &[&str]| offered(None, &[&["bridgefwd"], words].concat());
    assert_eq!(offered(&["st"]), ["stats", "status"]);
    assert_eq!(offered(&["pair", "al"]), ["allow"]);
    assert_eq!(offered(&["run", "--so"]), ["--socket-group", "--socket"]);
    assert_eq!(offered(&["flows", "--proto", "ud"]), ["udp"]);
    assert_eq!(offered(&["schema", "fl"]), ["flows"]);
    // Nothing can be said; and nothing is.
    for odd in [&["nonsense", "x"][..], &["flows", "--no-such-option", "x"], &["--help", ""]] {
        let output = ask(None, "bash", &[&["bridgefwd"], odd].concat());
        assert!(matches!(output.status, 0 | 1), "{output:?}");
    }
    let unknown = ask(None, "tcsh", &["bridgefwd", "st"]);
    assert_eq!((unknown.status, &unknown.stdout[..]), (1, ""));
}

#[test]
fn bash_completes_with_the_script() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let program = binary();
    let folder = program.parent().expect("a folder").display().to_string();
    let complete = |words: &str, last: usize| {
        let script = format!(
            "PATH={folder}:$PATH; source <(bridgefwd completions bash) || exit 1
             COMP_WORDS=({words}); COMP_CWORD={last}; COMP_TYPE=9
             _clap_complete_bridgefwd bridgefwd \"${{COMP_WORDS[{last}]}}\"
             complete -p bridgefwd >&2 || exit 1
             echo \"${{COMPREPLY[@]}}\""
        );
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let output = run(Some(&router.ns), &mut command);
        assert_eq!(output.status, 0, "{words}: {output:?}");
        assert!(output.stderr.ends_with("-F _clap_complete_bridgefwd bridgefwd\n"), "{output:?}");
        output.stdout.trim().to_owned()
    };
    assert_eq!(complete("bridgefwd st", 1), "stats status");
    let line = "bridgefwd --socket /nonexistent/s pair allow br";
    assert_eq!(complete(line, 5), "br-a br-b br-c");
}

#[test]
fn each_shell_has_its_script() {
    for (shell, word) in [
        ("bash", "_clap_complete_bridgefwd bridgefwd\n"),
        ("zsh", "#compdef bridgefwd\n"),
        ("fish", "complete --keep-order --exclusive --command bridgefwd"),
    ] {
        let script = run(None, Command::new(binary()).args(["completions", shell]));
        assert_eq!((script.status, &script.stderr[..]), (0, ""), "{shell}");
        assert!(script.stdout.contains(word), "{shell}: {}", script.stdout);
        // Whatever it is called by, it asks the one that is in the path.
        assert!(!script.stdout.contains("/bridgefwd"), "{shell}: {}", script.stdout);
        assert!(
            script.stdout.contains(&format!("BRIDGEFWD_COMPLETE=\"{shell}\""))
                || script.stdout.contains(&format!("BRIDGEFWD_COMPLETE={shell}")),
            "{}",
            script.stdout
        );
    }
}
