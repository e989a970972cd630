//! The package as it lies there: what is in it, with which modes, and what Debian wants of one.

use bridgefwd_tests::command::run;
use bridgefwd_tests::installed::made;

/// Paths and modes of everything but folders and manual pages.
const FILES: [(&str, &str); 11] = [
    ("./etc/bridgefwd/bridgefwd.toml", "-rw-r--r--"),
    ("./usr/bin/bridgefwd", "-rwxr-xr-x"),
    ("./usr/lib/systemd/system/bridgefwd.service", "-rw-r--r--"),
    ("./usr/lib/sysusers.d/bridgefwd.conf", "-rw-r--r--"),
    ("./usr/share/bash-completion/completions/bridgefwd", "-rw-r--r--"),
    ("./usr/share/doc/bridgefwd/README.md", "-rw-r--r--"),
    ("./usr/share/doc/bridgefwd/changelog.Debian.gz", "-rw-r--r--"),
    ("./usr/share/doc/bridgefwd/changelog.gz", "-rw-r--r--"),
    ("./usr/share/doc/bridgefwd/copyright", "-rw-r--r--"),
    ("./usr/share/fish/vendor_completions.d/bridgefwd.fish", "-rw-r--r--"),
    ("./usr/share/zsh/vendor-completions/_bridgefwd", "-rw-r--r--"),
];
const PAGES: &str = "./usr/share/man/man8/";
/// Bytes; with its symbols the program would not fit.
const LARGEST: u64 = 8_000_000;

#[test]
fn it_holds_what_it_should_and_nothing_else() {
    let package = made(".deb");
    let listing = run("dpkg-deb", &["--contents", package.to_str().unwrap()]);
    let mut files = Vec::new();
    let mut pages = Vec::new();
    for line in listing.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [mode, owner, .., path] = words[..] else { panic!("{line}") };
        assert_eq!(owner, "0/0", "{line}");
        match path.strip_prefix(PAGES) {
            Some("") | None if mode == "drwxr-xr-x" => {}
            Some(page) => {
                assert_eq!(mode, "-rw-r--r--", "{line}");
                pages.push(page.to_owned());
            }
            None => files.push((path, mode)),
        }
    }
    files.sort_unstable();
    assert_eq!(files, FILES);
    for page in ["bridgefwd.8.gz", "bridgefwd-run.8.gz", "bridgefwd-pair-allow.8.gz"] {
        assert!(pages.iter().any(|there| there == page), "no {page} in {pages:?}");
    }
    assert!(pages.iter().all(|page| page.ends_with(".8.gz")), "{pages:?}");
    assert!(package.metadata().unwrap().len() < LARGEST);
}

#[test]
fn its_control_files_are_in_order() {
    let package = made(".deb");
    let package = package.to_str().unwrap();
    let field = |name: &str| run("dpkg-deb", &["--field", package, name]).trim().to_owned();
    assert_eq!(field("Package"), "bridgefwd");
    assert!(field("Version").starts_with(env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").contains("libc6 (>= "), "{}", field("Depends"));
    for line in field("Description").lines() {
        assert!(line.len() <= 80, "too long: {line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    run("dpkg-deb", &["--control", package, control.to_str().unwrap()]);
    let read = |name: &str| std::fs::read_to_string(control.join(name)).unwrap();
    // Every file below /etc is a conffile: what an operator wrote stays.
    assert_eq!(read("conffiles"), "/etc/bridgefwd/bridgefwd.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        let path = control.join(script);
        run("sh", &["-n", path.to_str().unwrap()]);
        let text = read(script);
        assert!(text.starts_with("#!/bin/sh\nset -e\n") && !text.contains("#DEBHELPER#"), "{text}");
    }
}

#[test]
fn every_manual_page_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let package = made(".deb");
    run("dpkg-deb", &["--extract", package.to_str().unwrap(), folder.path().to_str().unwrap()]);
    let pages = std::fs::read_dir(folder.path().join("usr/share/man/man8")).unwrap();
    let mut count = 0;
    for page in pages {
        let path = page.unwrap().path();
        let text = run("gzip", &["-dc", path.to_str().unwrap()]);
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".8.gz").unwrap();
        for section in [".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH \"SEE ALSO\"\n"] {
            assert!(text.contains(section), "{name}: no {section}: {text}");
        }
        let whatis = format!("{} \\- ", name.replace('-', "\\-"));
        assert!(text.contains(&whatis), "{name}: {text}");
        count += 1;
    }
    assert!(count > 15, "{count} pages");
}
