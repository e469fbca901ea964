//! A WebSocket echo, client and server by Python's `websockets`.

use serde_json::Value;

use super::bracketed;
use crate::{Process, pods::Pod};

pub struct WebSocket {
    _process: Process,
    marker: String,
}

impl WebSocket {
    pub const MODULE: &str = "websockets";
    pub const PORT: u16 = 8080;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let process = pod.start(&pod.python(Self::MODULE, "pods/websocket_server.py", &[]));
        pod.listens(Self::PORT).await;
        Self { _process: process, marker: marker.to_owned() }
    }

    pub async fn talk(&self, client: &Pod, host: &str) {
        self.converse(client, host, 0).await;
    }

    /// The same, with a pause in which nothing is sent.
    pub async fn linger(&self, client: &Pod, host: &str) {
        self.converse(client, host, 3).await;
    }

    async fn converse(&self, client: &Pod, host: &str, pause: u32) {
        let url = format!("ws://{}:{}/room", bracketed(host), Self::PORT);
        let words = client.python(Self::MODULE, "pods/websocket_client.py", &[&url, &self.marker, &pause.to_string()]);
        let result: Value = serde_json::from_str(&client.run(&words).await.expect_ok()).unwrap();
        assert_eq!(result["text"], self.marker);
        assert_eq!(result["large"], true, "a large message comes back as it was");
        assert_eq!(result["pong"], true);
        assert_eq!(result["after_pause"], true, "a connection that was silent for a while goes on");
        assert_eq!(result["close"], serde_json::json!([4321, "enough"]));
    }
}
