//! A real browser without a window, by the WebDriver protocol (W3C) of its chromedriver.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::namespaces::Namespace;
use crate::wait::poll;

/// Chromium takes its time to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// As root there is no sandbox; and there is no network to look anything up in.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one page, inside a namespace. It ends when it is dropped.
pub struct Browser<'a> {
    ns: &'a Namespace,
    driver: Child,
    at: String,
    session: String,
    _profile: TempDir,
}

impl<'a> Browser<'a> {
    /// With a window of that size, in pixels.
    #[must_use]
    #[track_caller]
    pub fn start(ns: &'a Namespace, width: u32, height: u32) -> Self {
        let profile = tempfile::Builder::new().prefix("bfwt-").tempdir().expect("folder");
        let mut driver = ns.run(|| {
            Command::new("chromedriver")
                .arg("--port=0")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("started")
        });
        let at = format!("127.0.0.1:{}", port(&mut driver));
        let mut browser = Self { ns, driver, at, session: String::new(), _profile: profile };
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let made = browser.ask("POST", "/session", Some(&capabilities));
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// What a function's body returns in the page.
    #[track_caller]
    pub fn script(&self, body: &str) -> Value {
        self.command("execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        let body = format!("return Boolean({expression});");
        let held = poll(PATIENCE, || (self.script(&body) == true).then_some(()));
        let shown = || self.script("return document.body.innerText;");
        assert!(held.is_some(), "waited in vain for {expression} in\n{}", shown());
    }

    /// Presses keys, one after the other.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let keyboard =
            json!({ "type": "key", "id": "keys", "actions": strokes.collect::<Vec<_>>() });
        self.command("actions", &json!({ "actions": [keyboard] }));
    }

    /// What a user prefers: `prefers-color-scheme` and the like.
    #[track_caller]
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!([{ "name": feature, "value": value }]);
        let emulate =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.command("goog/cdp/execute", &emulate);
    }

    /// What is shown, as a PNG.
    #[must_use]
    #[track_caller]
    pub fn screenshot(&self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        let shot = self.ask("GET", &path, None);
        STANDARD.decode(shot.as_str().expect("base64")).expect("base64")
    }

    /// What the page and the browser complained about.
    #[must_use]
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().expect("entries").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    fn command(&self, command: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{command}", self.session), Some(body))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = http::send_within(PATIENCE, self.ns, method, &self.at, path, &[], body);
        let answer = answer.expect("chromedriver answers");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        answer.json()["value"].take()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            let _ = http::send(self.ns, "DELETE", &self.at, &path, &[], None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The port that the driver says it listens on.
#[track_caller]
fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
    let said = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let port = line.split("on port ").nth(1)?;
        port.trim_end_matches('.').parse().ok().filter(|port| *port != 0)
    });
    // Read on, so that it never blocks.
    std::thread::spawn(move || lines.for_each(drop));
    said.expect("chromedriver says where it listens")
}
