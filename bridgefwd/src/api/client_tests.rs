//! Tests of [`super`]: what is asked, and what becomes of answers that are none.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// A path for a socket of this test alone, removed with it.
struct Socket(PathBuf);

impl Socket {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bridgefwd-client-{}-{number}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Asks a server that answers one request with `answer`; gives the result and the request.
async fn asked<T>(answer: &str, ask: impl AsyncFnOnce(Client) -> Result<T>) -> (Result<T>, String) {
    let socket = Socket::new();
    let listener = UnixListener::bind(&socket.0).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let mut len = 0;
        loop {
            len += stream.read(&mut request[len..]).await.unwrap();
            let text = String::from_utf8_lossy(&request[..len]).into_owned();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let wanted = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |len| len.parse().unwrap());
            if text.contains("\r\n\r\n") && body.len() >= wanted {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..len]).into_owned()
    };
    tokio::join!(ask(Client::new(&socket.0)), serve)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_pair_is_put_with_its_names_encoded() {
    let body = r#"{"from":"a#b","to":"ü","state":"allowed","nat":"none"}"#;
    let (pair, request) = asked(&http("200 OK", body), async |client| {
        let change = PairChange::to(super::super::types::PairState::Allowed);
        client.put_pair("a#b", "ü", &change).await
    })
    .await;
    assert_eq!(pair.unwrap().nat, "none");
    assert!(request.starts_with("PUT /v1/pairs/a%23b/%C3%BC HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"state":"allowed","drain":false}"#), "{request}");
}

#[tokio::test]
async fn the_filter_becomes_the_query() {
    let filter = FlowFilter {
        from: Some("a&b".into()),
        proto: Some("tcp".into()),
        address: Some("fd00::1".parse().unwrap()),
        port: Some(80),
        limit: Some(10),
        ..FlowFilter::default()
    };
    let (flows, request) =
        asked(&http("200 OK", "[]"), async |client| client.page(&filter).await).await;
    assert_eq!(flows.unwrap(), (Vec::new(), None));
    let wanted = "from=a%26b&proto=tcp&address=fd00%3A%3A1&port=80&limit=10";
    assert!(request.starts_with(&format!("GET /v1/flows?{wanted} HTTP/1.1")), "{request}");
    let more = http("200 OK\r\nbridgefwd-next: 41", "[]");
    let (flows, _) = asked(&more, async |client| client.page(&filter).await).await;
    assert_eq!(flows.unwrap().1, Some(41));
    assert_eq!(flows_path(&FlowFilter::default()), "/v1/flows");
}

#[tokio::test]
async fn a_pair_is_cleared_with_or_without_draining() {
    let (cleared, request) = asked(&http("200 OK", r#"{"cleared":false}"#), async |client| {
        client.delete_pair("a", "b", true).await
    })
    .await;
    assert!(!cleared.unwrap());
    assert!(request.starts_with("DELETE /v1/pairs/a/b?drain=true HTTP/1.1"), "{request}");
}

#[tokio::test]
async fn problems_keep_their_kind() {
    let usage = http("400 Bad Request", r#"{"kind":"usage","error":"unknown bridge x"}"#);
    let (result, _) = asked(&usage, async |client| client.pairs().await).await;
    assert!(matches!(result, Err(Failure::Usage(text)) if text == "unknown bridge x"));

    let failed = http("500 Internal Server Error", r#"{"kind":"failed","error":"table full"}"#);
    let (result, _) = asked(&failed, async |client| client.stats().await).await;
    assert!(matches!(result, Err(Failure::Failed(text)) if text == "table full"));

    let foreign = http("404 Not Found", "nothing here");
    let (result, _) = asked(&foreign, async |client| client.down().await).await;
    assert!(matches!(result, Err(Failure::Failed(text)) if text.contains("nothing here")));
}

#[tokio::test]
async fn answers_that_are_no_answers_are_failures() {
    let (result, _) = asked(&http("200 OK", "{}"), async |client| client.status().await).await;
    assert!(matches!(result, Err(Failure::Failed(text)) if text.contains("same version")));
    let (result, _) = asked("", async |client| client.bridges().await).await;
    assert!(matches!(result, Err(Failure::Failed(text)) if text.contains("broke off")));
}

#[tokio::test]
async fn nobody_listening_is_no_daemon() {
    let socket = Socket::new();
    let absent = Client::new(&socket.0).status().await;
    assert!(matches!(absent, Err(Failure::NoDaemon(text)) if text.contains("bridgefwd run")));
    // What a daemon that was killed leaves behind.
    drop(UnixListener::bind(&socket.0).unwrap());
    let stale = Client::new(&socket.0).status().await;
    assert!(matches!(stale, Err(Failure::NoDaemon(_))));
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let socket = Socket::new();
    let _listener = UnixListener::bind(&socket.0).unwrap();
    let client = Client { socket: socket.0.clone(), timeout: Duration::from_millis(20) };
    let silent = client.status().await;
    assert!(matches!(silent, Err(Failure::Failed(text)) if text.contains("not answered")));
}
