//! A real Prometheus scrapes, and answers what the dashboard asks.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bridgefwd_tests::http;
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::{PATIENCE, poll, until};
use bridgefwd_tests::{needs_programs, needs_root};
use serde_json::Value;

use crate::rig::{AT, Rig};

const PROMETHEUS: &str = "127.0.0.1:9090";

struct Prometheus<'a> {
    rig: &'a Rig,
    child: Child,
}

impl<'a> Prometheus<'a> {
    #[track_caller]
    fn start(rig: &'a Rig) -> Self {
        let folder = rig.bridgefwd.folder();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n\
             scrape_configs:\n  - job_name: bridgefwd\n    static_configs:\n      \
             - targets: ['{AT}']\n"
        );
        std::fs::write(&config, text).expect("written");
        let data = folder.join("prometheus");
        let child = rig.router.ns.run(|| {
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={PROMETHEUS}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("started")
        });
        Self { rig, child }
    }

    /// The result of a query, once there is one.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<Value> {
        let answered = poll(PATIENCE * 3, || {
            let answer = self.ask(query)?;
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            let result = answer["data"]["result"].as_array().expect("a vector").clone();
            (!result.is_empty()).then_some(result)
        });
        answered.unwrap_or_else(|| panic!("nothing comes of {query}"))
    }

    fn ask(&self, query: &str) -> Option<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        // Until it listens nobody answers, and until it is ready it says so.
        let answer = http::get(&self.rig.router.ns, PROMETHEUS, &path, &[]).ok()?;
        (answer.status != 503).then(|| answer.json())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(result: &Value) -> f64 {
    result["value"][1].as_str().expect("a value").parse().expect("a number")
}

#[test]
fn scrapes_and_answers_every_query_of_the_dashboard() {
    needs_root!();
    needs_programs!("prometheus");
    let rig = Rig::new();
    let handle = |stream: &TcpStream| stream.try_clone().expect("handle");
    let (mut near, mut far) = (handle(&rig.connection.0), handle(&rig.connection.1));
    let prometheus = Prometheus::start(&rig);
    assert_eq!(value(&prometheus.query("up{job=\"bridgefwd\"} == 1")[0]), 1.0);
    // Nothing was thrown away: no name twice, no sample out of order.
    let kept = "scrape_samples_post_metric_relabeling{job=\"bridgefwd\"}";
    let samples = value(&prometheus.query(kept)[0]);
    assert!(samples > 150.0, "{samples}");
    until("the traffic is seen as a rate", || {
        say(&mut near, &mut far, "hello");
        let rate =
            "rate(bridgefwd_pair_packets_total{from=\"br-a\",direction=\"original\"}[5s]) > 0";
        prometheus.ask(rate).is_some_and(|answer| {
            answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
        })
    });
    let queries = dashboard_queries();
    assert!(queries.len() >= 12, "{queries:?}");
    for query in queries {
        prometheus.query(&query);
    }
}

/// Every query of the dashboard, its variables replaced by what Grafana would put in their place.
fn dashboard_queries() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/bridgefwd.json");
    let text = std::fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut queries = Vec::new();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    for target in panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let query = target["expr"].as_str().expect("a query");
        let query = query.replace("$__rate_interval", "5s").replace("$instance", ".*");
        let query = query.replace("$from", ".*").replace("$to", ".*");
        assert!(!query.contains('$'), "{query}");
        queries.push(query);
    }
    queries
}
