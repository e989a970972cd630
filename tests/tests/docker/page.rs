//! What docs/docker.md shows is what is printed, on real networks of a real engine.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use bridgefwd_tests::bridgefwd::{Bridgefwd, binary, output_in};
use bridgefwd_tests::docker::{Engine, EngineOptions, IMAGE, block_as_newer_engines};
use bridgefwd_tests::needs_docker;

/// The image that the page names.
const IMAGE_OF_THE_PAGE: &str = "busybox";
/// How the page's own lines of commands begin.
const PROMPT: &str = "    $ ";
/// Where a daemon of a whole host listens, as the page shows it.
const SOCKET: &str = "/run/bridgefwd/bridgefwd.sock";
/// Digits of an id, from which on a word is taken for one.
const ID: usize = 7;

/// A person at a terminal of the engine's host.
struct Person {
    // Before the engine, so that the daemon goes first.
    bridgefwd: Bridgefwd,
    engine: Engine,
}

impl Person {
    #[track_caller]
    fn new() -> Self {
        let engine = Engine::start(EngineOptions::default());
        engine.docker(&["tag", IMAGE, IMAGE_OF_THE_PAGE]);
        let bridgefwd = Bridgefwd::new(&engine.ns).with_environment("DOCKER_HOST", &host(&engine));
        symlink(binary(), bridgefwd.folder().join("bridgefwd")).expect("a link to the program");
        Self { bridgefwd, engine }
    }

    /// What comes of a line.
    #[track_caller]
    fn types(&mut self, line: &str) -> String {
        if line == "bridgefwd run &" {
            self.bridgefwd.start(&[]);
            return self.bridgefwd.ready_line().to_owned();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{{ {line}\n}} 2>&1")])
            .env("PATH", format!("{}:{path}", self.bridgefwd.folder().display()))
            .env("DOCKER_HOST", host(&self.engine))
            .env("DOCKER_CONFIG", self.bridgefwd.folder())
            .env_remove("DOCKER_CONTEXT")
            .env("BRIDGEFWD_SOCKET", self.bridgefwd.socket())
            .env("BRIDGEFWD_PIN_DIR", &self.bridgefwd.pin_dir);
        let printed = output_in(&self.engine.ns, &mut command).stdout;
        self.guard(line);
        printed
    }

    /// Does to a container that was just started what a newer engine would have done.
    fn guard(&self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let after = |option: &str| {
            let at = words.iter().position(|word| *word == option)?;
            words.get(at + 1).copied()
        };
        if let (true, Some(name), Some(network)) =
            (line.starts_with("docker run "), after("--name"), after("--network"))
        {
            let id = self.engine.inspect(network)["Id"].as_str().expect("an id")[..12].to_owned();
            let address = self.engine.address(name, network);
            block_as_newer_engines(&self.engine.ns, address, &format!("br-{id}"));
        }
    }
}

fn host(engine: &Engine) -> String {
    format!("unix://{}", engine.socket().display())
}

/// The page with what is printed where it shows something, and all else as it is.
fn typed(page: &str, mut types: impl FnMut(&str) -> String) -> String {
    let lines: Vec<_> = page.lines().collect();
    let printed = |line: &str| line.starts_with("    ") && !line.starts_with(PROMPT);
    let (mut now, mut at) = (String::new(), 0);
    while let Some(line) = lines.get(at) {
        at += 1;
        now.push_str(&format!("{line}\n"));
        let Some(command) = line.strip_prefix(PROMPT) else { continue };
        for line in types(command).trim_end().lines() {
            now.push_str(format!("    {line}").trim_end());
            now.push('\n');
        }
        // What it shows until now, with blank lines in it.
        while let Some(blank) = lines[at..].iter().position(|line| !line.is_empty())
            && printed(lines[at + blank])
        {
            at += blank + 1;
        }
    }
    now
}

/// A line without what is another each time: ids, ports, numbers of packets and processes, and how wide a
/// column is for them. Addresses stay.
fn lasting(line: &str) -> String {
    let split =
        line.split_inclusive(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'));
    let words = split.map(|piece| {
        let end = piece.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'));
        let (word, mark) = piece.split_at(end.unwrap_or(piece.len()));
        let word = word.strip_prefix("veth").filter(|rest| !rest.is_empty()).unwrap_or(word);
        let is_id = word.len() >= ID && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = if is_id {
            "ID".into()
        } else if word.parse::<Ipv4Addr>().is_ok() {
            word.to_owned()
        } else {
            let digit = |letter: char| letter.is_ascii_digit() || letter == '.';
            let mut shown = String::new();
            for letter in word.chars() {
                match (digit(letter), shown.ends_with('0')) {
                    (true, true) => {}
                    (true, false) => shown.push('0'),
                    (false, _) => shown.push(letter),
                }
            }
            shown
        };
        shown + mark
    });
    let words: String = words.collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_shows_what_is_printed() {
    needs_docker!();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/docker.md");
    let page = std::fs::read_to_string(path).expect("docs/docker.md");
    let mut person = Person::new();
    let (socket, pins) = (person.bridgefwd.socket(), person.bridgefwd.pin_dir.clone());
    let now = typed(&page, |line| {
        let printed = person.types(line);
        let printed = printed.replace(socket.to_str().expect("UTF-8"), SOCKET);
        printed.replace(pins.to_str().expect("UTF-8"), "/sys/fs/bpf/bridgefwd")
    });
    let lines = |text: &str| text.lines().map(lasting).collect::<Vec<_>>();
    for (number, (shown, printed)) in lines(&page).into_iter().zip(lines(&now)).enumerate() {
        assert_eq!(shown, printed, "line {} of docs/docker.md, which would be:\n{now}", number + 1);
    }
    assert_eq!(page.lines().count(), now.lines().count(), "docs/docker.md would be:\n{now}");
    assert!(page.matches(PROMPT).count() > 10, "the page shows commands");
}

#[test]
fn what_lasts_of_a_line_is_compared() {
    let same = |one: &str, other: &str| assert_eq!(lasting(one), lasting(other));
    same("br-3fa9c12345ab  172.18.0.1", "br-0123456789ab 172.18.0.1");
    same(
        "web 172.18.0.2:55774  7/5  499B/394B",
        "web 172.18.0.2:4321 10/9     1.2kB/3B".replace("1.2kB", "9B").as_str(),
    );
    same("vetha22855d", "veth53f2f53");
    assert_ne!(lasting("172.18.0.2"), lasting("172.18.0.3"));
    assert_ne!(lasting("allowed"), lasting("denied"));
    assert_eq!(
        typed("a\n\n    $ b\n    old\n\n    older\n\nc\n", |_| "new\n\nmore\n".into()),
        "a\n\n    $ b\n    new\n\n    more\n\nc\n"
    );
}
