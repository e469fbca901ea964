//! `examples/docker`, as its README lines have it: three programs that know nothing of the mesh.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use weft_tests::{
    Connection, Finished, Load, Place, binomial_interval, eventually, free_port, get, pods::Capture, request, send,
    within,
};

use crate::project::{Project, example, on_this_machine};

const CANARY: &[u8] = include_bytes!("../../examples/docker/canary.yaml");
const FAULT: &[u8] = include_bytes!("../../examples/docker/fault.yaml");
/// Containers take their time to end.
const PATIENCE: Duration = Duration::from_mins(2);

struct Shop {
    project: Project,
    web: u16,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// With further settings of the project.
    async fn open_with(settings: &[(&str, String)]) -> Self {
        let (web, admin) = (free_port(), free_port());
        let project = Project::new(&example(), &["compose.yaml"]).set("WEB_PORT", web).set("ADMIN_PORT", admin);
        let project = settings.iter().fold(project, |project, (name, value)| project.set(name, value));
        project.up().await;
        let shop = Self { project, web };
        // The programs run, but may not listen yet.
        eventually("the shop serves", async || {
            let answer = Connection::open(on_this_machine(web)).await?.send(request(&shop.url())).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        shop
    }

    fn url(&self) -> String {
        format!("http://localhost:{}/", self.web)
    }

    fn load(&self) -> Load {
        Load::start(on_this_machine(self.web), &self.url(), 4, 40)
    }

    /// Which versions have answered, and how often.
    async fn versions(&self, requests: u64) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for _ in 0..requests {
            let answer = get(on_this_machine(self.web), &self.url()).await;
            let order: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
            *counted.entry(order["version"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counted
    }

    /// Has a part of the orders go to the next version, and returns when one has.
    async fn try_the_canary(&self) {
        self.project.weft(&["apply", "-f", "-"], CANARY).await.expect_ok();
        eventually("the canary is asked", async || {
            let seen = self.versions(20).await;
            if seen.contains_key("v2") { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    async fn endpoints(&self, count: usize) {
        eventually(&format!("orders has {count} endpoints"), async || {
            let shown = self.project.weft(&["endpoints", "orders", "-o", "json"], b"").await.expect_ok();
            let all: Value = serde_json::from_str(&shown).unwrap();
            match all.as_array().map(Vec::len) {
                Some(now) if now == count => Ok(()),
                _ => Err(shown),
            }
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn the_wire_between_containers_is_encrypted_and_rules_hold() {
    let shop = Shop::open().await;
    let project = &shop.project;
    // By the service's name, from a container to another.
    let said = project.exec("web", &["curl", "-sSi", "http://orders:8080/"]).await.expect_ok();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains(r#""version": "v1""#), "{said}");
    assert!(said.contains("weft-server-id: spiffe://weft.local/ns/default/sa/orders"), "{said}");

    let web = project.address("web-net").await.parse().unwrap();
    let capture = Capture::on(&project.bridge().await, web, &project.folder).await;
    for _ in 0..20 {
        let answer = send(on_this_machine(shop.web), request(&shop.url()).header("x-word", "heron-by-the-water")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // To Redis, whose protocol nobody has to know.
        project
            .exec("web", &["bash", "-c", "exec 3<>/dev/tcp/redis/6379; echo INCR heron >&3; head -1 <&3"])
            .await
            .expect_ok();
    }
    let captured = capture.finish().await;
    // What the host sends to the published port is in plaintext, and shows that the capture sees what there is.
    assert!(captured.contains("x-word: heron-by-the-water"));
    // What nginx writes to `orders`, and what its counting of orders writes to Redis.
    for plaintext in ["Host: orders", "INCR"] {
        assert!(!captured.contains(plaintext), "{plaintext} crosses the bridge");
    }

    assert_eq!(shop.versions(50).await, BTreeMap::from([("v1".to_owned(), 50)]));
    shop.try_the_canary().await;
    let seen = shop.versions(1000).await;
    assert!(binomial_interval(1000, 0.2).contains(&seen["v2"]), "{seen:?}");

    project.weft(&["apply", "-f", "-"], FAULT).await.expect_ok();
    let status = async || send(on_this_machine(shop.web), request(&shop.url()).header("x-test", "faults")).await.status;
    eventually("the fault is injected", async || match status().await {
        status if status == 503 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(get(on_this_machine(shop.web), &shop.url()).await.status, 200, "who does not ask for it has no fault");
    assert_eq!(project.down().await, "", "left behind");
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn instances_sidecars_and_the_control_plane_come_and_go_without_a_failed_request() {
    let mut shop = Shop::open().await;
    let load = shop.load();
    load.more(20).await;

    shop.project.with_files(&["compose.yaml", "scale.yaml"]);
    shop.project.up().await;
    shop.endpoints(4).await;
    load.more(40).await;
    shop.project.with_files(&["compose.yaml"]);
    shop.project.compose(&["up", "--detach", "--wait", "--remove-orphans"]).await.expect_ok();
    shop.endpoints(2).await;
    load.more(40).await;

    shop.project.compose(&["restart", "control-plane"]).await.expect_ok();
    load.more(40).await;
    shop.project.compose(&["up", "--detach", "--wait"]).await.expect_ok();
    shop.try_the_canary().await;
    load.stop().await.assert_none_failed();
    shop.project.with_files(&["compose.yaml", "scale.yaml"]);
    assert_eq!(shop.project.down().await, "", "left behind");
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn a_sidecar_or_a_program_that_is_killed_comes_back_by_itself() {
    let shop = Shop::open().await;
    for victim in ["orders-weft", "web-weft", "orders"] {
        let before = shop.project.inspect(victim).await;
        let pid = before["State"]["Pid"].to_string();
        // The engine does not start again what it was itself told to kill.
        let mut kill = Place::Machine.command("kill");
        kill.args(["-9", &pid]);
        Finished::of(kill, b"", PATIENCE).await.expect_ok();
        // The program has no restart policy. To start what the engine has not yet seen end would do nothing.
        if victim == "orders" {
            within(PATIENCE, "the engine sees its end", async || {
                let state = shop.project.inspect(victim).await["State"].take();
                if state["Running"] == false { Ok(()) } else { Err(state.to_string()) }
            })
            .await;
            shop.project.compose(&["start", victim]).await.expect_ok();
        }
        within(PATIENCE, "it runs again, and serves", async || {
            let now = shop.project.inspect(victim).await;
            if now["State"]["Pid"] == before["State"]["Pid"] || now["State"]["Running"] != true {
                return Err(format!("{}", now["State"]));
            }
            let answer = Connection::open(on_this_machine(shop.web)).await?.send(request(&shop.url())).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        let said = shop.project.exec("web", &["curl", "-sSi", "http://orders:8080/"]).await.expect_ok();
        assert!(said.contains("weft-server-id: "), "not by the mesh any more: {said}");
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine and images"]
async fn prometheus_sees_the_sidecars() {
    let prometheus = free_port();
    let settings = [("PROMETHEUS_PORT", prometheus.to_string()), ("COMPOSE_PROFILES", "metrics".to_owned())];
    let shop = Shop::open_with(&settings).await;
    get(on_this_machine(shop.web), &shop.url()).await;
    within(PATIENCE, "requests are counted", async || {
        let url = format!("http://localhost:{prometheus}/api/v1/query?query=sum(weft_requests_total)");
        // It need not listen already.
        let text = Connection::open(on_this_machine(prometheus)).await?.send(request(&url)).await?.text();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer["data"]["result"][0]["value"][1].as_str().map(str::parse::<f64>) {
            Some(Ok(count)) if count >= 1.0 => Ok(()),
            _ => Err(text),
        }
    })
    .await;
}
