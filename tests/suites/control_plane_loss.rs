//! The control plane is killed with `kill -9`: traffic goes on, and what was acknowledged is there again.

use std::time::Duration;

use rand::Rng;
use weft_tests::{ControlPlane, Load, Workload, eventually, get, service, split, versions};

fn rules(v2: u32) -> String {
    format!("{}---\n{}", versions("orders"), split("orders", 100 - v2, v2))
}

#[tokio::test]
async fn traffic_goes_on_without_it_and_nothing_is_lost() {
    let mut control_plane = ControlPlane::start().await;
    let _v1 = Workload::start(&control_plane, "orders", "v1").await;
    let _v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&rules(10)).await;
    let remembered = async |control_plane: &ControlPlane| {
        let export = control_plane.weft(&["export"]).await.expect_ok();
        (export, control_plane.json(&["history"]).await)
    };
    let before = remembered(&control_plane).await;

    let load = Load::start(caller.outbound(), "http://orders/", 8, 200);
    load.more(100).await;
    control_plane.kill();
    load.more(300).await;
    let unreachable = control_plane.weft(&["status"]).await;
    assert_eq!(unreachable.code, 4, "{}", unreachable.stderr);

    control_plane.restart().await;
    assert_eq!(remembered(&control_plane).await, before);
    control_plane.serving("orders", 2).await;
    // Also the caller, of whom nobody waits to be told anything before it has come back.
    control_plane.connected(3).await;
    control_plane.settled().await;
    load.more(100).await;
    control_plane.apply(&rules(100)).await;
    load.more(100).await;
    load.stop().await.assert_none_failed();
    for _ in 0..20 {
        assert_eq!(get(caller.outbound(), "http://orders/").await.text(), "v2", "new rules arrive as before");
    }
}

#[tokio::test]
async fn sidecars_restart_from_their_state_folders_without_it() {
    let mut control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let _v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&rules(0)).await;
    assert_eq!(get(caller.outbound(), "http://orders/").await.text(), "v1");
    control_plane.kill();
    // What a sidecar knows is on the disk when it says so.
    for sidecar in [&caller, &orders.sidecar] {
        eventually("the sidecar knows that it is alone", async || {
            match sidecar.log_lines(&["the last configuration serves on"]) {
                lines if lines.is_empty() => Err("not yet"),
                _ => Ok(()),
            }
        })
        .await;
    }

    let caller = caller.restart().await;
    let sidecar = orders.sidecar.restart().await;
    let answer = get(caller.outbound(), "http://orders/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "v1"), "{answer:?}");
    assert_eq!(answer.header("weft-server-id"), "spiffe://weft.local/ns/default/sa/orders");

    control_plane.restart().await;
    control_plane.serving("orders", 2).await;
    control_plane.apply(&rules(100)).await;
    eventually("the restarted sidecar hears of new rules", async || {
        match get(caller.outbound(), "http://orders/").await.text() {
            version if version == "v2" => Ok(()),
            other => Err(format!("answered by {other}")),
        }
    })
    .await;
    drop(sidecar);
}

#[tokio::test]
async fn every_acknowledged_write_survives_a_kill_in_the_midst_of_writes() {
    const KILLS: u32 = 5;
    let mut control_plane = ControlPlane::start().await;
    let base = format!("{}---\n{}", service("orders"), versions("orders"));
    control_plane.weft_with_input(&["apply", "-f", "-"], &base).await.expect_ok();
    let mut acknowledged = Vec::new();
    for round in 0..KILLS {
        let mut writers: Vec<_> = (0..4)
            .map(|writer| {
                let message = format!("{round}-{writer}");
                let file = control_plane
                    .folder()
                    .file(&format!("{message}.yaml"), split("orders", round * 10 + writer + 1, 7));
                let mut apply = control_plane.command(&["apply", "-f", &file, "--message", &message]);
                (
                    message,
                    apply.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap(),
                )
            })
            .collect();
        if round + 1 == KILLS {
            // However slow the machine is, there is a write to be found again.
            let (_, first) = &mut writers[0];
            assert!(first.wait().unwrap().success());
        }
        // The moment is to be any: before, within or after the writes.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(20..300))).await;
        control_plane.kill();
        for (message, apply) in &mut writers {
            if apply.wait().unwrap().success() {
                acknowledged.push(message.clone());
            }
        }
        control_plane.restart().await;
        let history = control_plane.json(&["history"]).await.to_string();
        for message in &acknowledged {
            assert!(history.contains(&format!("\"message\":\"{message}\"")), "{message} was acknowledged: {history}");
        }
        let export = control_plane.weft(&["export"]).await.expect_ok();
        assert!(export.contains("orders-v1") && export.contains("orders-v2"), "{export}");
    }
    assert!(!acknowledged.is_empty(), "every kill came before every write");
    control_plane.weft_with_input(&["apply", "-f", "-"], &split("orders", 1, 1)).await.expect_ok();
}
