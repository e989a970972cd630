//! `scale`: what very many bridges, pairs and flows cost: to start, to look at, to change, and while
//! nothing happens.

mod host;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::traffic::{listen, pair_up};
use bridgefwd_tests::wait::poll;
use serde::Serialize;

use crate::Options;
use crate::crowd::{self, Ends};
use crate::program::size;
use crate::report::{Report, Table};
use crate::statistics::{Spread, quantile, sorted};
use host::{CLIENT_MAC, Host, ROUTER_MAC};

/// How much of everything.
#[derive(Clone, Copy, Debug, Serialize)]
struct Size {
    bridges: u32,
    pairs: u32,
    flows: u32,
}

const MIB: f64 = (1 << 20) as f64;
/// How long a start may take that is not what it should be.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize)]
struct Results {
    size: Size,
    /// Seconds until the host was there; not ours.
    host_s: f64,
    /// Seconds until `run` was ready, with all attached and all pairs listed.
    start_s: f64,
    /// The same by clsact filters in place of TCX links.
    start_clsact_s: f64,
    /// Programs that were attached: two to a bridge, one to a port.
    attachments: u32,
    /// MiB of the maps, and bytes of those of them that are larger where there can be more flows, for each flow.
    maps_mib: f64,
    bytes_a_flow: f64,
    /// Seconds until it was ready again, with all flows alive.
    restart_s: f64,
    /// Seconds until nothing was left of it.
    down_s: f64,
    /// MiB of the daemon that are its own.
    daemon_mib: f64,
    /// What commands took, in ms, from start to end of the process.
    commands: Vec<Answer>,
    /// ms to turn one pair on or off.
    toggle_ms: Spread,
    /// The slowest of them.
    toggle_worst_ms: f64,
    /// Per cent of a CPU that the daemon takes while nothing happens.
    idle_cpu: f64,
    /// Latencies while the daemon has nothing to free, and while it frees all flows.
    quiet: Latency,
    freeing: Latency,
    /// Seconds until all flows were freed, after they were over.
    freed_s: f64,
}

#[derive(Debug, Serialize)]
struct Answer {
    command: String,
    ms: Spread,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    median_us: f64,
    p99_us: f64,
    p9999_us: f64,
    worst_us: f64,
}

/// Measures, and says so.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let size = match (options.tiny, options.quick) {
        (true, _) => Size { bridges: 6, pairs: 20, flows: 2000 },
        (_, true) => Size { bridges: 200, pairs: 2000, flows: 200_000 },
        _ => Size { bridges: 1000, pairs: 10_000, flows: 1_000_000 },
    };
    let results = measure(size, options);
    Ok(report(options, &results))
}

fn measure(size: Size, options: &Options) -> Results {
    let said = |what: &str| eprintln!("  {what}");
    said(&format!("making a host with {} bridges", size.bridges));
    let host = Host::new(size.bridges);
    said(&format!(
        "made in {:.1} s; starting with {} pairs",
        host.made_in.as_secs_f64(),
        size.pairs
    ));
    let mut bridgefwd = Bridgefwd::new(&host.router);
    let config = bridgefwd.folder().join("scale.toml");
    std::fs::write(&config, configuration(&host, size.pairs)).expect("a file");
    let config = config.to_str().expect("a path").to_owned();
    let limit = (size.flows + 1000).to_string();
    let first = ["--config", &config, "--max-flows", &limit, "--flows-per-source", &limit];
    let timer = ["--timer", "udp_one_way=3600"];
    let clsact = start(&mut bridgefwd, &[&first[..], &["--attach", "clsact"]].concat());
    bridgefwd.ok(&["down"]);
    bridgefwd.wait_end();
    said(&format!(
        "ready in {:.1} s by clsact; once more, as it is by default",
        clsact.as_secs_f64()
    ));
    let start = start(&mut bridgefwd, &[&first[..], &timer].concat());

    said(&format!("ready in {:.1} s; opening {} flows", start.as_secs_f64(), size.flows));
    let ends = Ends {
        client: &host.client,
        from: Ipv4Addr::new(10, 0, 0, 3),
        macs: [CLIENT_MAC, ROUTER_MAC],
        server: &host.server,
        to: *host.at(0).ip(),
    };
    crowd::open(&bridgefwd, &ends, size.flows);
    let maps = size::pinned(&bridgefwd.pin_dir.join("maps"));
    let of_flows = maps.iter().filter(|(name, _)| size::grows(name));
    let of_flows = of_flows.map(|(_, bytes)| *bytes as f64).sum::<f64>();

    said("asking");
    let repeat = if options.quick { 3 } else { 11 };
    let commands: [&[&str]; 8] = [
        &["flows"],
        &["flows", "--limit", "10", "--address", "10.0.0.3", "--port", "1100"],
        &["flows", "--from", "br0", "--to", "br1", "--proto", "udp", "--limit", "100", "--json"],
        &["flows", "--json"],
        &["stats", "--json"],
        &["status", "--json"],
        &["pair", "list", "--json"],
        &["bridges", "--json"],
    ];
    let commands = commands.iter().map(|args| answer(&bridgefwd, args, repeat)).collect();

    said("turning a pair off and on");
    let toggles: Vec<f64> = (0..if options.quick { 10 } else { 50 })
        .map(|number| {
            let change = if number % 2 == 0 { "deny" } else { "allow" };
            let begun = Instant::now();
            bridgefwd.ok(&["pair", change, "br2", "br3"]);
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();

    let watch = Duration::from_secs(if options.tiny { 1 } else { 5 });
    said("doing nothing");
    let (before, begun) = (cpu_s(bridgefwd.pid()), Instant::now());
    std::thread::sleep(watch);
    let idle_cpu = (cpu_s(bridgefwd.pid()) - before) / begun.elapsed().as_secs_f64() * 100.0;
    let daemon_mib = own_mib(bridgefwd.pid());

    let listener = listen(&host.server, host.at(7000));
    let (near, far, _) = pair_up(&host.client, 0, &listener);
    let quiet = ping_pong(&near, &far, watch);
    said("starting again, with timers that are over");
    bridgefwd.kill();
    let restart = self::start(&mut bridgefwd, &["--config", &config, "--timer", "udp_one_way=1"]);
    let begun = Instant::now();
    // Every flow is over, and the daemon has a round of the table before it.
    let freeing = ping_pong(&near, &far, watch.max(Duration::from_secs(12)).min(watch * 3));
    let none_left = || sources_use(&bridgefwd) < 10;
    poll(PATIENCE, || none_left().then_some(())).expect("flows that are over are freed");
    let freed = begun.elapsed();
    said("taking it down");
    let begun = Instant::now();
    bridgefwd.ok(&["down"]);
    let down = begun.elapsed();
    bridgefwd.wait_end();
    Results {
        size,
        host_s: host.made_in.as_secs_f64(),
        start_s: start.as_secs_f64(),
        start_clsact_s: clsact.as_secs_f64(),
        attachments: 3 * size.bridges,
        maps_mib: maps.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / MIB,
        bytes_a_flow: of_flows / f64::from(size.flows),
        restart_s: restart.as_secs_f64(),
        down_s: down.as_secs_f64(),
        daemon_mib,
        commands,
        toggle_ms: Spread::of(&toggles).expect("toggles"),
        toggle_worst_ms: toggles.iter().copied().fold(0.0, f64::max),
        idle_cpu,
        quiet,
        freeing,
        freed_s: freed.as_secs_f64(),
    }
}

#[track_caller]
fn start(bridgefwd: &mut Bridgefwd, args: &[&str]) -> Duration {
    match bridgefwd.try_start_within(PATIENCE, args) {
        Ok(took) => took,
        Err(output) => panic!("the daemon did not become ready: {output:?}"),
    }
}

fn configuration(host: &Host, pairs: u32) -> String {
    let names: Vec<_> = host.names().map(|name| format!("{name:?}")).collect();
    let mut text = format!("bridges = [{}]\n", names.join(", "));
    for (from, to) in host.pairs(pairs) {
        let _ = write!(text, "\n[[pair]]\nfrom = {from:?}\nto = {to:?}\n");
    }
    text
}

/// Slots that are taken, as their sources are counted.
fn sources_use(bridgefwd: &Bridgefwd) -> u64 {
    let stats = bridgefwd.json(&["stats"]);
    let sources = stats["sources"].as_array().expect("sources");
    sources.iter().filter_map(|source| source["flows"].as_u64()).sum()
}

#[track_caller]
fn answer(bridgefwd: &Bridgefwd, args: &[&str], repeat: usize) -> Answer {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..repeat {
        let begun = Instant::now();
        let output = bridgefwd.cli(args);
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(output.status, 0, "{args:?}: {}", output.stderr);
        bytes = output.stdout.len();
    }
    Answer { command: args.join(" "), ms: Spread::of(&times).expect("some"), bytes }
}

/// CPU time of a process, in seconds.
fn cpu_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let of = |task: std::path::PathBuf| -> f64 {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
    };
    tasks.filter_map(|task| Some(of(task.ok()?.path()))).sum::<f64>() / 1e9
}

/// MiB of memory that a process has for itself: not of the maps that it looks into.
fn own_mib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// One byte there and back, for a while.
fn ping_pong(
    mut near: &std::net::TcpStream,
    mut far: &std::net::TcpStream,
    time: Duration,
) -> Latency {
    const END: u8 = 0xff;
    let mut times = Vec::with_capacity(1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            while far.read_exact(&mut byte).is_ok() && byte[0] != END {
                far.write_all(&byte).expect("answered");
            }
        });
        let end = Instant::now() + time;
        let mut byte = [1];
        while Instant::now() < end {
            let begun = Instant::now();
            near.write_all(&byte).expect("sent");
            near.read_exact(&mut byte).expect("answered");
            times.push(begun.elapsed().as_nanos() as f64 / 1000.0);
        }
        near.write_all(&[END]).expect("sent");
    });
    let times = sorted(&times);
    let at = |part| quantile(&times, part).unwrap_or_default();
    Latency { median_us: at(0.5), p99_us: at(0.99), p9999_us: at(0.9999), worst_us: at(1.0) }
}

fn report(options: &Options, results: &Results) -> Report {
    let mut report = Report::new("scale", options, results);
    let Size { bridges, pairs, flows } = results.size;
    report.text(&format!("{bridges} bridges with a port each, {pairs} pairs, {flows} flows."));
    let mut table = Table::new(["what", "figure"].map(Into::into).to_vec());
    let mut row = |what: &str, figure: String| table.row(vec![what.into(), figure]);
    row("making the host (not ours)", format!("{:.1} s", results.host_s));
    let each = results.start_s * 1000.0 / f64::from(results.attachments.max(1));
    row("`run` until ready", format!("{:.2} s, {each:.1} ms an attachment", results.start_s));
    row("`run --attach clsact` until ready", format!("{:.2} s", results.start_clsact_s));
    row("`run` again, flows alive", format!("{:.2} s", results.restart_s));
    row("`down`", format!("{:.2} s", results.down_s));
    row("memory of the daemon's own", format!("{:.1} MiB", results.daemon_mib));
    row("memory of the maps", format!("{:.0} MiB", results.maps_mib));
    row("of it, for each flow (target: 320 bytes)", format!("{:.0} bytes", results.bytes_a_flow));
    row("CPU of the idle daemon", format!("{:.2} %", results.idle_cpu));
    let Spread { median, low, high } = results.toggle_ms;
    row(
        "turning one pair off or on (target: under 50 ms)",
        format!("{median:.1} ms [{low:.1}-{high:.1}], worst {:.1} ms", results.toggle_worst_ms),
    );
    row("all flows freed after they were over", format!("{:.1} s", results.freed_s));
    report.table(table);
    report.text("Commands, from start to end of the process:");
    let mut table = Table::new(["command", "ms [quartiles]", "bytes"].map(Into::into).to_vec());
    for Answer { command, ms, bytes } in &results.commands {
        let time = format!("{:.1} [{:.1}-{:.1}]", ms.median, ms.low, ms.high);
        table.row(vec![format!("`{command}`"), time, bytes.to_string()]);
    }
    report.table(table);
    report.text(
        "Ping-pong by the fast path, microseconds: while the daemon has nothing to free, and while it \
         frees all flows.",
    );
    let header = ["", "median", "99 %", "99.99 %", "worst"].map(Into::into).to_vec();
    let mut table = Table::new(header);
    for (name, latency) in [("quiet", results.quiet), ("freeing", results.freeing)] {
        let Latency { median_us, p99_us, p9999_us, worst_us } = latency;
        let figures = [median_us, p99_us, p9999_us, worst_us].map(|us| format!("{us:.0}"));
        table.row([name.to_owned()].into_iter().chain(figures).collect());
    }
    report.table(table);
    report
}
