//! What docs/trace.md shows of commands, and what of it is the same each time.

use std::path::Path;

/// The section that is about a Docker engine, which a network without one cannot show.
pub const OF_DOCKER: &str = "Between two Docker networks";

/// A command that is on the page.
#[derive(Debug)]
pub struct Shown {
    /// The heading that it is below.
    pub section: String,
    /// The line that is typed.
    pub command: String,
    /// What is printed.
    pub printed: String,
}

/// The commands of docs/trace.md with what they printed, in their order.
#[must_use]
#[track_caller]
pub fn shown() -> Vec<Shown> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trace.md");
    shown_by(&std::fs::read_to_string(path).expect("docs/trace.md"))
}

fn shown_by(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let (mut section, mut inside) = (String::new(), false);
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        match (line.strip_prefix("    "), all.last_mut()) {
            (Some(code), _) if code.starts_with("$ ") => {
                let command = code[2..].to_owned();
                all.push(Shown { section: section.clone(), command, printed: String::new() });
                inside = true;
            }
            (Some(code), Some(last)) if inside => last.printed += &format!("{code}\n"),
            // Within what is printed there can be empty lines.
            _ => inside &= line.is_empty(),
        }
    }
    all
}

/// The lines without what is different each time: times, ports of clients, identifiers, how wide columns
/// are, and names that an engine makes up, which are numbered instead.
#[must_use]
pub fn lasting(text: &str) -> Vec<String> {
    let mut made_up = Vec::new();
    let mut word = |word: &str| -> String {
        let bare = word.trim_end_matches([',', ':']);
        let mark = &word[bare.len()..];
        if let Some(kind) = made_up_by_an_engine(bare) {
            let known = made_up.iter().position(|name| name == bare);
            let number = known.unwrap_or_else(|| {
                made_up.push(bare.to_owned());
                made_up.len() - 1
            });
            return format!("{kind}#{number}{mark}");
        }
        let is_time = bare.starts_with('+') || bare == "0" || bare.matches(':').count() == 2;
        if is_time {
            return "TIME".into();
        }
        match bare.rsplit_once(':') {
            Some((address, port)) if bare.ends_with(char::is_numeric) && port.len() > 3 => {
                format!("{address}:PORT{mark}")
            }
            _ => word.into(),
        }
    };
    let mut line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().map(&mut word).collect();
        let mut words = words.iter().map(String::as_str);
        let mut lasting = Vec::new();
        while let Some(word) = words.next() {
            lasting.push(word);
            if word == "id" && words.next().is_some() {
                lasting.push("ID");
            }
        }
        lasting.join(" ")
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(&mut line).collect()
}

/// What a name begins with that goes on with digits of an id: `veth1f00d42`, `br-3fa9c12345ab`.
fn made_up_by_an_engine(name: &str) -> Option<&'static str> {
    ["veth", "br-"].into_iter().find(|kind| {
        let rest = name.strip_prefix(kind).unwrap_or_default();
        rest.len() >= 7 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_what_they_print() {
        let page =
            "## One\n\n    $ a b\n    x\n\n    y\n\ntext\n\n    not shown\n\n## Two\n    $ c\n";
        let all = shown_by(page);
        let all: Vec<_> = all.iter().map(|it| (&*it.section, &*it.command, &*it.printed)).collect();
        assert_eq!(all, [("One", "a b", "x\ny\n"), ("Two", "c", "")]);
    }

    #[test]
    fn what_lasts_is_compared() {
        let same = |one: &str, other: &str| assert_eq!(lasting(one), lasting(other));
        same(
            "veth1f00d42  in  +8us  172.18.0.2:41864 -> 172.19.0.2:80  TTL 64",
            "vethaaaaaaa in +1.2ms 172.18.0.2:51 -> 172.19.0.2:80 TTL 64"
                .replace(":51", ":5123")
                .as_str(),
        );
        same("at veth1f00d42: a, veth1f00d43, b", "at vethaaaaaaa: a, vethaaaaaab, b");
        same("1 -> 19:38:20.372123  icmp", "1 -> 20:38:20.372123 icmp");
        same("172.18.0.2 id 1 -> 172.19.0.1 id 1,", "172.18.0.2 id 2 -> 172.19.0.1 id 2,");
        let differ = |one: &str, other: &str| assert_ne!(lasting(one), lasting(other));
        differ("veth1f00d42 veth1f00d42", "veth1f00d42 veth1f00d43");
        differ("veth1f00d42", "br-1f00d4233333");
        differ("172.18.0.2:80", "172.18.0.3:80");
        differ("172.18.0.2:80", "172.18.0.2:81");
        differ("TTL 64", "TTL 63");
    }
}
