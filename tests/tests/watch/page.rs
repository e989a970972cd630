//! The page, in a real browser: what it shows is so, it follows, and everybody can use it.

use std::path::PathBuf;

use bridgefwd_tests::browser::Browser;
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::until;
use bridgefwd_tests::{needs_programs, needs_root};

use crate::rig::{AT, Crowd, Rig};

/// What stands in the matrix for `br-a` and `br-b`.
const CELL: &str = "[...document.querySelectorAll('#matrix tbody tr')]\
    .find((row) => row.cells[0].textContent === 'br-a').cells[2].textContent";

fn open<'a>(rig: &'a Rig) -> Browser<'a> {
    let browser = Browser::start(&rig.router.ns, 1280, 1100);
    browser.open(&format!("http://{AT}/"));
    browser.until("document.querySelectorAll('#flows tbody tr').length === 2");
    browser
}

#[test]
fn is_sent_with_what_it_may_do() {
    needs_root!();
    let rig = Rig::new();
    let page = rig.get("/", &[]);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for path in ["/", "/v1/stats", "/metrics"] {
        let answer = rig.get(path, &[]);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(rig.get(path, &[("host", "attacker.example")]).status, 403, "{path}");
    }
}

#[test]
fn shows_what_is_so_and_follows() {
    needs_root!();
    needs_programs!("chromedriver", "chromium");
    let rig = Rig::with_odd_name();
    let browser = open(&rig);
    browser.until(&format!("{CELL}.startsWith('✓ allowed')"));
    let flows = browser.script("return document.querySelector('#flows tbody').innerText;");
    let flows = flows.as_str().expect("text");
    for part in ["10.1.0.2:10000", "10.2.0.2:80", "10.2.0.1:10000", "10.2.0.2:53", "established"] {
        assert!(flows.contains(part), "{part}: {flows}");
    }
    // A name is text, whatever it looks like.
    browser.until("document.querySelector('#matrix').innerText.includes('x<i>')");
    // Traffic becomes a rate.
    let handle = |at: &std::net::TcpStream| at.try_clone().expect("handle");
    let (mut near, mut far) = (handle(&rig.connection.0), handle(&rig.connection.1));
    let text = "x".repeat(20_000);
    until("a rate is shown", || {
        say(&mut near, &mut far, &text);
        let shown = browser.script(&format!("return {CELL};"));
        shown.as_str().is_some_and(|shown| shown.contains("bit/s"))
    });
    // What is typed chooses flows.
    browser.script("document.getElementById('filter').focus();");
    browser.press("udp :53");
    browser.until("document.querySelectorAll('#flows tbody tr').length === 1");
    browser.until("document.getElementById('flow-count').textContent.startsWith('1 of 1')");
    // A change is seen.
    rig.bridgefwd.ok(&["pair", "deny", "br-a", "br-b"]);
    browser.until(&format!("{CELL} === '✕ denied'"));
    browser.until("document.querySelector('#flows tbody').innerText.includes('No flow')");
    // And so is that the daemon has gone; not each look is told.
    assert_eq!(
        browser.script("return document.getElementById('state').textContent;"),
        "Up to date."
    );
    rig.bridgefwd.ok(&["down"]);
    browser.until("document.getElementById('state').textContent.startsWith('No answer since')");
    let complaints = browser.complaints();
    let policy = complaints.iter().find(|text| text.contains("Content Security Policy"));
    assert_eq!(policy, None, "{complaints:?}");
}

/// The lowest contrast of a text with what is behind it, and that text.
const LOWEST_CONTRAST: &str = r#"
    const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
    const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const luminance = ([red, green, blue]) =>
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    let lowest = [21, ''];
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
        if (!own || !node.offsetParent) continue;
        const [a, b] = [parse(getComputedStyle(node).color), behind(node)].map(luminance);
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < lowest[0]) lowest = [contrast, node.textContent];
    }
    return lowest;
"#;

#[test]
fn everybody_can_use_it() {
    needs_root!();
    needs_programs!("chromedriver", "chromium");
    let rig = Rig::new();
    let browser = open(&rig);
    if std::env::var_os("BRIDGEFWD_SCREENSHOTS").is_some() {
        look_busy(&rig, &browser);
    }
    let count = |selector: &str| {
        browser.script(&format!("return document.querySelectorAll({selector:?}).length;"))
    };
    for landmark in ["header", "main", "nav[aria-label]", "footer"] {
        assert_eq!(count(landmark), 1, "{landmark}");
    }
    assert_eq!(count("h1"), 1);
    assert_eq!(count("th:not([scope])"), 0);
    assert_eq!(count("table:not(:has(caption))"), 0);
    assert_eq!(count("section:not([aria-labelledby])"), 0);
    assert_eq!(count("[role=status][aria-live=polite]"), 1);
    let unlabelled = "return [...document.querySelectorAll('input, select')]\
        .filter((control) => control.labels.length === 0).length;";
    assert_eq!(browser.script(unlabelled), 0);
    for scheme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", scheme);
        let lowest = browser.script(LOWEST_CONTRAST);
        assert!(lowest[0].as_f64() >= Some(4.5), "{scheme}: {lowest}");
        keep(&format!("page-{scheme}.png"), &browser.screenshot());
    }
    let backs = ["light", "dark"].map(|scheme| {
        browser.prefer("prefers-color-scheme", scheme);
        browser.script("return getComputedStyle(document.body).backgroundColor;")
    });
    assert_ne!(backs[0], backs[1]);
    browser.prefer("prefers-reduced-motion", "reduce");
    let motion = "return getComputedStyle(document.documentElement).scrollBehavior;";
    assert_eq!(browser.script(motion), "auto");
    // By keyboard alone: past everything that comes first, then to each control in turn, seen.
    browser.press("\u{e004}");
    assert_eq!(browser.script("return document.activeElement.className;"), "skip");
    assert!(
        browser.script("return document.activeElement.getBoundingClientRect().left;").as_f64()
            >= Some(0.0)
    );
    browser.press("\u{e007}");
    browser.until("document.activeElement.id === 'main'");
    let mut reached = Vec::new();
    for _ in 0..8 {
        browser.press("\u{e004}");
        let focused = "const it = document.activeElement; return [it.id || \
            it.getAttribute('aria-labelledby'), getComputedStyle(it).outlineStyle];";
        let focused = browser.script(focused);
        assert_ne!(focused[1], "none", "{focused}");
        reached.push(focused[0].as_str().unwrap_or_default().to_owned());
    }
    for wanted in ["matrix-caption", "filter", "order", "flows-caption", "all-reasons"] {
        assert!(reached.iter().any(|is| is == wanted), "{wanted}: {reached:?}");
    }
    // A pause is a pause.
    browser.script("document.getElementById('pause').focus();");
    browser.press(" ");
    browser.until("document.getElementById('state').textContent === 'Paused.'");
    let pressed = "return document.getElementById('pause').getAttribute('aria-pressed');";
    assert_eq!(browser.script(pressed), "true");
    let asked = "const ask = window.fetch; window.asked = 0; \
        window.fetch = (...all) => { window.asked += 1; return ask(...all); }; \
        document.dispatchEvent(new Event('visibilitychange')); return window.asked;";
    assert_eq!(browser.script(asked), 0);
    browser.press(" ");
    browser.until("window.asked > 0");
}

#[test]
fn ten_thousand_flows_and_a_hundred_pairs() {
    needs_root!();
    needs_programs!("chromedriver", "chromium");
    let crowd = Crowd::new(10_000);
    let browser = Browser::start(&crowd.router.ns, 1280, 1100);
    browser.open(&format!("http://{AT}/"));
    browser.until("document.querySelectorAll('#flows tbody tr').length === 200");
    browser.until("document.getElementById('flow-count').textContent.startsWith('200 of 1')");
    browser.until("document.querySelectorAll('#pairs tbody tr').length === 110");
    browser.until("document.querySelectorAll('#matrix tbody tr').length === 11");
    // The page does not grow wider than its window for it.
    let wide =
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth;";
    assert_eq!(browser.script(wide), 0);
    // One of them is found, and it takes no time that anybody would notice.
    let typed = "const filter = document.getElementById('filter'); const begun = performance.now(); \
        filter.value = crowd_port; filter.dispatchEvent(new Event('input')); \
        return [performance.now() - begun, document.querySelectorAll('#flows tbody tr').length];";
    let found = browser.script(&typed.replace("crowd_port", "':20077'"));
    assert_eq!(found[1], 1, "{found}");
    println!("the filter took {} ms", found[0]);
    assert!(found[0].as_f64() < Some(1_000.0), "{found}");
    keep("page-crowd.png", &browser.screenshot());
    assert_eq!(crowd.bridgefwd.json(&["status"])["state"], "running");
}

/// Traffic for a picture, until there is a line of it.
fn look_busy(rig: &Rig, browser: &Browser<'_>) {
    let handle = |at: &std::net::TcpStream| at.try_clone().expect("handle");
    let (mut near, mut far) = (handle(&rig.connection.0), handle(&rig.connection.1));
    let line =
        "return document.querySelector('#pairs svg path').getAttribute('d').split('L').length;";
    let mut sizes = [3, 40, 90, 20, 60, 9].into_iter().cycle();
    bridgefwd_tests::wait::poll(std::time::Duration::from_secs(60), || {
        say(&mut near, &mut far, &"x".repeat(sizes.next()? * 1_000));
        (browser.script(line).as_u64() > Some(9)).then_some(())
    })
    .expect("a line");
}

/// Where screenshots are kept for people to look at, if `BRIDGEFWD_SCREENSHOTS` names a folder.
fn keep(name: &str, png: &[u8]) {
    assert!(png.starts_with(b"\x89PNG"));
    if let Some(folder) = std::env::var_os("BRIDGEFWD_SCREENSHOTS") {
        std::fs::write(PathBuf::from(folder).join(name), png).expect("written");
    }
}
