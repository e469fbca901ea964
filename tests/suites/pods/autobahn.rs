//! Autobahn's fuzzing client, which knows every corner of WebSocket: through the mesh it finds what it finds without.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::Value;
use weft_tests::{
    Finished,
    pods::{Pod, User, require_pods, require_pods_with_python},
};

use super::pair::{NAME, Pair};

const PORT: u16 = 9001;
/// All cases but those that measure speed or need compression.
const CASES: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

/// How each case went, by the name of the server's agent.
async fn fuzz(client: &Pod, agent: &str, host: &str) -> BTreeMap<String, (String, String)> {
    let reports = client.folder().join("reports").join(agent);
    let url = format!("ws://{host}:{PORT}");
    let spec = serde_json::json!({
        "outdir": reports, "servers": [{"agent": agent, "url": url}], "cases": CASES, "exclude-cases": [],
    });
    let spec = client.file(&format!("{agent}.json"), spec.to_string());
    let mut command = client.command(User::ROOT, "wstest");
    command.args(["--mode", "fuzzingclient", "--spec", &spec]).current_dir(client.folder());
    Finished::of(command, b"", Duration::from_secs(240)).await.expect_ok();
    let index: Value = serde_json::from_slice(&fs::read(reports.join("index.json")).unwrap()).unwrap();
    // Strict is who answers what came before an error; whether the server has the time depends on how the bytes arrive.
    let passes = |behaviour: &str| if behaviour == "NON-STRICT" { "OK" } else { behaviour }.to_owned();
    let text = |case: &Value, name: &str| passes(case[name].as_str().unwrap());
    let cases = index[agent].as_object().unwrap().iter();
    cases.map(|(id, case)| (id.clone(), (text(case, "behavior"), text(case, "behaviorClose")))).collect()
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn what_it_finds_is_the_same_with_and_without_the_mesh() {
    // It is a program for Python 2, which not every machine can have.
    if std::env::var_os("WEFT_TESTS_WITHOUT_AUTOBAHN").is_some() {
        println!("skipped: there is no Python 2 for Autobahn's test suite");
        return;
    }
    if !require_pods(&["nft", "wstest"]) || !require_pods_with_python("websockets") {
        return;
    }
    let pair = Pair::start(PORT).await;
    let port = PORT.to_string();
    let _server = pair.server.start(&pair.server.python("websockets", "pods/websocket_echo.py", &[&port]));
    pair.server.listens(PORT).await;
    pair.serving().await;
    let without = fuzz(&pair.server, "without", "127.0.0.1").await;
    let with = fuzz(&pair.client, "with", NAME).await;
    let passed = without.values().filter(|(behaviour, _)| behaviour == "OK").count();
    println!("{passed} of {} cases pass without the mesh", without.len());
    assert!(passed > 200, "the server itself: {without:#?}");
    let differs = |(id, how): &(&String, &(String, String))| with.get(*id) != Some(*how);
    let differing: Vec<_> = without.iter().filter(differs).map(|(id, how)| (id, how, with.get(id))).collect();
    assert!(differing.is_empty(), "case, without, with: {differing:#?}");
}
