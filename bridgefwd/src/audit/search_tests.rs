//! Who is found in a log, whatever has happened between.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::api::events::{Closed, Present, rfc3339};
use crate::api::types::{BothWays, FlowTuple};

fn time(seconds: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds))
}

/// A flow of a client, by port 5000 of 172.19.0.1.
fn flow(client: u8, server: u8) -> FlowEvent {
    let tuple = |src: [u8; 4]| FlowTuple {
        src: src.into(),
        src_port: 5000,
        dst: [172, 19, 0, server].into(),
        dst_port: 80,
    };
    FlowEvent {
        from: Some("front".into()),
        to: Some("db".into()),
        port: None,
        proto: "tcp".into(),
        nat: "masquerade".into(),
        client: None,
        server: None,
        original: tuple([172, 18, 0, client]),
        translated: tuple([172, 19, 0, 1]),
    }
}

fn opened(at: u64, flow: FlowEvent) -> Event {
    Event { time: time(at), what: What::Opened(flow) }
}

fn closed(at: u64, from: u64, flow: FlowEvent) -> Event {
    let what = What::Closed(Closed {
        flow,
        reason: "idle".into(),
        state: "established".into(),
        opened: time(from),
        last_packet: time(at - 1),
        packets: BothWays::default(),
        bytes: BothWays::default(),
    });
    Event { time: time(at), what }
}

fn started(at: u64) -> Event {
    Event { time: time(at), what: What::Started { pid: 1 } }
}

fn present(at: u64, from: u64, flow: FlowEvent) -> Event {
    Event { time: time(at), what: What::Present(Present { flow, opened: time(from) }) }
}

fn log(events: &[Event]) -> (TempDir, Place) {
    let folder = tempdir().unwrap();
    let path: PathBuf = folder.path().join("audit.jsonl");
    let lines: String = events.iter().map(Event::line).collect();
    fs::write(&path, lines).unwrap();
    (folder, Place { path, file_size: 1 << 20, files: 3 })
}

fn asked(place: &Place, at: Option<u64>) -> Findings {
    let query = WhoisQuery {
        address: [172, 19, 0, 1].into(),
        port: Some(5000),
        proto: None,
        at: at.map(time),
    };
    search(place, &query).unwrap()
}

fn clients(findings: &Findings) -> Vec<String> {
    findings.found.iter().map(|known| known.flow.original.src.to_string()).collect()
}

#[test]
fn the_one_who_had_it_at_that_time() {
    let (_folder, place) = log(&[
        started(0),
        opened(10, flow(2, 2)),
        closed(20, 10, flow(2, 2)),
        opened(30, flow(3, 2)),
        closed(40, 30, flow(3, 2)),
        opened(50, flow(4, 2)),
    ]);
    for (at, who) in
        [(15, &["172.18.0.2"][..]), (35, &["172.18.0.3"]), (45, &[]), (60, &["172.18.0.4"])]
    {
        assert_eq!(clients(&asked(&place, Some(at))), who, "at {at}");
    }
    assert_eq!(clients(&asked(&place, Some(5))), [""; 0]);
    let all = asked(&place, None);
    assert_eq!(clients(&all), ["172.18.0.2", "172.18.0.3", "172.18.0.4"]);
    assert_eq!(all.found[0].closed, Some(time(20)));
    assert_eq!((all.span.begins, all.span.ends), (Some(time(0)), Some(time(50))));
}

#[test]
fn two_servers_may_see_the_same_port_at_one_time() {
    let (_folder, place) = log(&[opened(10, flow(2, 2)), opened(11, flow(3, 3))]);
    assert_eq!(clients(&asked(&place, Some(12))), ["172.18.0.2", "172.18.0.3"]);
}

#[test]
fn a_flow_that_began_before_the_log_is_known_by_its_end() {
    let (_folder, place) = log(&[closed(20, 10, flow(2, 2))]);
    assert_eq!(clients(&asked(&place, Some(15))), ["172.18.0.2"]);
    assert_eq!(clients(&asked(&place, Some(5))), [""; 0]);
}

#[test]
fn a_flow_that_opens_while_the_daemon_starts_is_one() {
    let (_folder, place) = log(&[started(10), present(10, 10, flow(2, 2)), opened(10, flow(2, 2))]);
    assert_eq!(clients(&asked(&place, None)), ["172.18.0.2"]);
    let (_folder, place) = log(&[
        opened(10, flow(2, 2)),
        closed(11, 10, flow(2, 2)),
        opened(11, flow(2, 2)),
        closed(20, 11, flow(2, 2)),
    ]);
    assert_eq!(clients(&asked(&place, None)).len(), 2, "one after the other are two");
}

#[test]
fn nobody_knows_what_ends_while_no_daemon_runs() {
    let (_folder, place) = log(&[
        opened(10, flow(2, 2)),
        opened(11, flow(3, 3)),
        started(100),
        present(100, 11, flow(3, 3)),
        closed(110, 11, flow(3, 3)),
    ]);
    let gap = asked(&place, Some(50));
    assert_eq!(clients(&gap), ["172.18.0.2", "172.18.0.3"]);
    assert_eq!(gap.gap, Some((time(11), time(100))));
    assert_eq!(gap.found[0].known_until, Some(time(11)));
    assert_eq!((&gap.found[1].known_until, &gap.found[1].closed), (&None, &Some(time(110))));
    assert_eq!(asked(&place, Some(105)).gap, None);
}

#[test]
fn what_is_no_line_of_ours_is_counted_and_passed_over() {
    let (_folder, place) = log(&[opened(10, flow(2, 2))]);
    let mut text = fs::read(&place.path).unwrap();
    text.extend_from_slice(b"\xff\xfe\n{\"time\":\n\nnonsense\n{\"event\":\"opened\"}\n");
    text.extend(std::iter::repeat_n(b'x', 200_000));
    text.push(b'\n');
    text.extend_from_slice(opened(12, flow(3, 3)).line().as_bytes());
    text.extend_from_slice(&opened(13, flow(4, 4)).line().as_bytes()[..40]);
    fs::write(&place.path, text).unwrap();
    let findings = asked(&place, None);
    assert_eq!(clients(&findings), ["172.18.0.2", "172.18.0.3"]);
    assert_eq!(findings.span.unreadable, 6);
}

#[test]
fn older_files_are_looked_through_first() {
    let (_folder, place) = log(&[opened(50, flow(4, 2))]);
    fs::rename(&place.path, place.paths().nth(1).unwrap()).unwrap();
    fs::write(&place.path, closed(60, 50, flow(4, 2)).line()).unwrap();
    let findings = asked(&place, Some(55));
    assert_eq!(findings.found.len(), 1);
    assert_eq!(findings.found[0].closed, Some(time(60)));
    fs::remove_file(&place.path).unwrap();
    let query = WhoisQuery { address: [1, 2, 3, 4].into(), port: None, proto: None, at: None };
    let why = search(&place, &query).unwrap_err().to_string();
    assert!(why.contains("audit.jsonl"), "{why}");
}
