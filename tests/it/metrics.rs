//! What Prometheus is told: in its form, by fixed names, true, and where it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{CUT_OFF, DEADLINE, ROOMY, TestApp, token};

/// The samples of an answer, by name and labels.
struct Metrics {
    samples: BTreeMap<String, f64>,
}

/// What may follow the name of a family in the name of a sample.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        "gauge" => &[""],
        other => panic!("{other} is a kind that nobody expects here"),
    }
}

impl Metrics {
    /// Reads the text, more strictly than Prometheus does.
    fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the text ends with its end");
        let (mut helps, mut kinds, mut samples) = (BTreeSet::new(), BTreeMap::<String, String>::new(), BTreeMap::new());
        let mut family = String::new();
        for line in body.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").map(|rest| rest.split_once(' ').expect("a help has a text")) {
                assert!(help.len() > 5 && helps.insert(name.to_owned()), "{line}: each family stands in one place");
                family = name.to_owned();
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").map(|rest| rest.split_once(' ').expect("a type has a kind")) {
                assert_eq!(name, family, "{line}: the type follows the help");
                kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
                let name = sample.split('{').next().unwrap_or_default();
                let kind = kinds.get(&family).unwrap_or_else(|| panic!("{line}: of which family?"));
                let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} stands below {family}"));
                assert!(suffixes(kind).contains(&suffix), "{line}: no name for a {kind}");
                assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                let labels = sample.strip_prefix(name).unwrap_or_default();
                assert!(labels.is_empty() || labels.starts_with('{') && labels.ends_with("\"}"), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
                assert!(value.is_finite() && samples.insert(sample.to_owned(), value).is_none(), "{line}: each series once");
            }
        }
        Self { samples }
    }

    async fn of(app: &TestApp) -> Self {
        let answer = app.answer(app.request("GET", "/metrics")).await;
        assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
        let Value::String(text) = answer.ok() else { panic!("it is text") };
        Self::parse(&text)
    }

    #[track_caller]
    fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("{sample} is not among {:?}", self.samples.keys()))
    }

    /// The buckets of each series of a histogram grow, and the last one holds all.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, count) in &self.samples {
            let Some((name, labels)) = sample.split_once("_bucket{le=\"") else { continue };
            let (bound, rest) = labels.split_once('"').expect("a bound ends");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound is a number") };
            let labels = rest.trim_start_matches(',').trim_end_matches('}');
            buckets.entry(format!("{name}|{labels}")).or_default().push((bound, *count));
        }
        assert!(buckets.len() > 3);
        for (series, mut bounds) in buckets {
            bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(bounds.is_sorted_by(|a, b| a.1 <= b.1), "{series}: {bounds:?}");
            let (name, labels) = series.split_once('|').expect("both");
            let count = if labels.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{labels}}}") };
            assert_eq!(bounds.last(), Some(&(f64::INFINITY, self.value(&count))), "{series}");
        }
    }
}

/// A little of everything.
async fn traffic(app: &TestApp) -> Metrics {
    let (ann, bob, conversation) = app.pair().await;
    let (a, b, _guest) = (app.socket(&ann).await, app.recovering_socket(&bob).await, app.guest(&[]).await);
    b.done("join-conversation", conversation).await;
    let pid = b.pid().await;
    for n in 0..3 {
        a.send(conversation, &format!("text {n} of a client")).await;
    }
    for _ in 0..3 {
        b.heard("message-received").await;
    }
    a.refused("mark-as-read", json!({"messageId": "made-up-by-a-client"}), "invalid_payload").await;
    a.refused("send-message", json!({"conversationId": 999_999, "message": "x", "tempId": "made-up-by-a-client"}), "not_found").await;
    a.refused("made-up-by-a-client", Value::Null, "invalid_payload").await;
    for path in ["/made-up-by-a-client", "/api/messaging/made-up-by-a-client", "/api/messaging/conversations/777777/messages?limit=7"] {
        app.answer(app.request("GET", path).header("user-agent", "made-up-by-a-client")).await;
    }
    app.answer(app.request("MADEUP", "/api/messaging/unread-count")).await;
    app.get("/api/messaging/unread-count", &ann).await.ok();
    let foreign = app.connect(Value::Null, &[("origin", "http://made-up-by-a-client.example")]).await;
    assert_eq!(foreign.err().as_deref(), Some("403"));
    assert!(app.connect(json!({"token": "made-up-by-a-client"}), &[]).await.is_err_and(|why| why != CUT_OFF));
    b.cut();
    for pid in [pid.as_str(), "made-up-by-a-client"] {
        let back = json!({"token": bob.token, "recovery": true, "pid": pid});
        app.connect(back, &[]).await.expect("comes back").close().await;
    }
    app.post(&format!("/api/messaging/admin/users/{}/ban", bob.id), &app.admin("root").await, json!({})).await.ok();
    let banned = app.connect(json!({"token": bob.token}), &[]).await;
    assert!(banned.is_err());
    a.fence().await;
    let settled = async {
        loop {
            let metrics = Metrics::of(app).await;
            if metrics.value("tidings_sockets") == 2.0 {
                return metrics;
            }
        }
    };
    tokio::time::timeout(DEADLINE, settled).await.expect("those who left are gone")
}

#[tokio::test]
async fn every_number_has_its_form_and_is_true_and_no_label_is_a_clients_choice() {
    let app = TestApp::start().await;
    let metrics = traffic(&app).await;
    metrics.check_histograms();
    for (sample, value) in [
        ("tidings_sockets", 2.0),
        ("tidings_connections{kind=\"user\",transport=\"websocket\"}", 1.0),
        ("tidings_connections{kind=\"guest\",transport=\"websocket\"}", 1.0),
        ("tidings_connections_opened_total{kind=\"user\",transport=\"websocket\"}", 4.0),
        ("tidings_events_total{event=\"send-message\",outcome=\"ok\"}", 3.0),
        ("tidings_events_total{event=\"send-message\",outcome=\"not_found\"}", 1.0),
        ("tidings_events_total{event=\"mark-as-read\",outcome=\"invalid_payload\"}", 1.0),
        ("tidings_events_total{event=\"other\",outcome=\"invalid_payload\"}", 1.0),
        ("tidings_message_commit_seconds_count", 3.0),
        ("tidings_message_delivery_seconds_count", 3.0),
        ("tidings_handshakes_refused_total{reason=\"origin\"}", 1.0),
        // A forged token, and a banned user.
        ("tidings_handshakes_refused_total{reason=\"unauthorized\"}", 2.0),
        ("tidings_rate_limited_total{limit=\"handshakes\"}", 0.0),
        ("tidings_recoveries_total{outcome=\"found\"}", 1.0),
        ("tidings_recoveries_total{outcome=\"not_found\"}", 1.0),
        ("tidings_up{part=\"database\"}", 1.0),
        ("tidings_up{part=\"writer\"}", 1.0),
        ("tidings_queue_items{queue=\"writer\"}", 0.0),
        ("tidings_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}", 2.0),
        ("tidings_http_requests_total{method=\"GET\",route=\"/api/messaging/conversations/{id}/messages\",status=\"401\"}", 1.0),
        ("tidings_http_requests_total{method=\"GET\",route=\"/api/messaging/unread-count\",status=\"200\"}", 1.0),
        ("tidings_http_requests_total{method=\"other\",route=\"/api/messaging/unread-count\",status=\"405\"}", 1.0),
        ("tidings_build_info{version=\"0.1.0\"}", 1.0),
    ] {
        assert_eq!(metrics.value(sample), value, "{sample}");
    }
    let now = tidings::clock::now().timestamp() as f64;
    assert!((metrics.value("process_start_time_seconds") - now).abs() < 3600.0);
    assert!(metrics.value("process_resident_memory_bytes") > 1e6 && metrics.value("process_open_fds") > 3.0);
    assert!(metrics.value("process_cpu_seconds_total") > 0.0);
    let all: Vec<&String> = metrics.samples.keys().collect();
    assert!(!all.iter().any(|sample| sample.contains("client.") || sample.contains("made-up") || sample.contains("777777")), "{all:?}");
}

#[tokio::test]
async fn why_sockets_go_and_what_is_over_a_limit_is_counted() {
    let app = TestApp::with("[limits]\nsends = { per_second = 1, burst = 1 }").await;
    let (ann, bob, conversation) = app.pair().await;
    let (a, b, c) = (app.socket(&ann).await, app.socket(&bob).await, app.socket(&ann).await);
    a.send(conversation, "one").await;
    a.refused("send-message", json!({"conversationId": conversation, "message": "two"}), "rate_limited").await;
    app.post(&format!("/api/messaging/admin/users/{}/ban", bob.id), &app.admin("root").await, json!({})).await.ok();
    b.disconnected().await;
    c.close().await;
    let expired = app.connect(json!({"token": token(ann.id, None, std::time::Duration::ZERO)}), &[]).await;
    assert!(expired.is_err());
    let counted = async {
        loop {
            let metrics = Metrics::of(&app).await;
            let ended =
                |reason: &str| metrics.samples.get(&format!("tidings_connections_ended_total{{reason=\"{reason}\"}}")) == Some(&1.0);
            if ended("banned") && ended("client_left") {
                return metrics;
            }
        }
    };
    let metrics = tokio::time::timeout(DEADLINE, counted).await.expect("both are counted");
    assert_eq!(metrics.value("tidings_rate_limited_total{limit=\"sends\"}"), 1.0);
    assert_eq!(metrics.value("tidings_events_total{event=\"send-message\",outcome=\"rate_limited\"}"), 1.0);
    assert_eq!(metrics.value("tidings_handshakes_refused_total{reason=\"token_expired\"}"), 1.0);
}

#[tokio::test]
async fn a_port_of_their_own_takes_them_off_the_public_one() {
    let app = TestApp::with("[metrics]\nlisten = \"127.0.0.1:0\"").await;
    // Not by way of the document of a server that has them here.
    assert_eq!(reqwest::get(format!("http://{}/metrics", app.address)).await.expect("it answers").status(), 404);
    let document = app.answer(app.request("GET", "/openapi.json")).await.ok();
    assert!(document["paths"]["/metrics"].is_null() && !document["paths"]["/readyz"].is_null());
    let address = app.metrics_address().expect("there is a port");
    let get = async |path: &str| reqwest::get(format!("http://{address}{path}")).await.expect("it answers");
    let text = get("/metrics").await.text().await.expect("text");
    assert_eq!(Metrics::parse(&text).value("tidings_sockets"), 0.0);
    for path in ["/", "/readyz", "/api/messaging/conversations", "/socket.io/?EIO=4&transport=polling"] {
        assert_eq!(get(path).await.status(), 404, "{path} is not there");
    }
}

/// The names of metrics in an expression.
fn metrics_in(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tidings_") || word.starts_with("process_")).collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_nothing_that_does_not_exist() {
    let app = TestApp::start().await;
    let metrics = traffic(&app).await;
    let names: BTreeSet<&str> = metrics.samples.keys().filter_map(|sample| sample.split('{').next()).collect();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("it is there")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut asked, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")) && panel["gridPos"]["w"].is_u64(), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()) && panel["datasource"]["uid"] == "${datasource}", "{panel}");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            assert!(!metrics_in(expression).is_empty(), "{expression}");
            asked.extend(metrics_in(expression).into_iter().map(str::to_owned));
        }
    }
    assert_eq!(asked.iter().filter(|name| !names.contains(name.as_str())).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(asked.len() > 15, "{asked:?}");
    assert!(
        dashboard["uid"].is_string() && dashboard["schemaVersion"].is_u64() && dashboard["templating"]["list"][0]["name"] == "datasource"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_sockets_those_who_ask_at_once_get_the_same_numbers() {
    let app = TestApp::with(ROOMY).await;
    let mut sockets = Vec::new();
    for n in 0..3 {
        let user = app.user(&format!("user{n}")).await;
        sockets.extend(futures_util::future::join_all((0..40).map(|_| app.socket(&user))).await);
    }
    let scrape = async || app.answer(app.request("GET", "/metrics")).await.ok();
    // Each request is counted, so two looks differ.
    let mut texts = Vec::new();
    for _ in 0..20 {
        texts.push(scrape().await);
    }
    let looks: std::collections::BTreeSet<String> = texts.iter().map(ToString::to_string).collect();
    assert!(looks.len() < texts.len(), "{} looks for {} who asked", looks.len(), texts.len());
    drop(sockets);
    let gone = async { while app.metric("tidings_sockets").await > 0.0 {} };
    tokio::time::timeout(crate::support::DEADLINE, gone).await.expect("the numbers are those of the moment again");
}
