//! gRPC of all four kinds, client and server by grpcio.

use serde_json::{Value, json};

use super::bracketed;
use crate::{Process, pods::Pod};

pub struct Grpc {
    _process: Process,
    marker: String,
}

impl Grpc {
    pub const MODULE: &str = "grpc";
    pub const PORT: u16 = 50051;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let process = pod.start(&pod.python(Self::MODULE, "grpc_server.py", &[&Self::PORT.to_string(), "[::]"]));
        pod.listens(Self::PORT).await;
        Self { _process: process, marker: marker.to_owned() }
    }

    /// The server must see a call from `caller`, a SPIFFE ID; `nobody` where there is no mesh.
    pub async fn talk(&self, client: &Pod, host: &str, caller: &str) {
        let target = format!("{}:{}", bracketed(host), Self::PORT);
        let words = client.python(Self::MODULE, "grpc_client.py", &["plain", &target, &self.marker]);
        let result: Value = serde_json::from_str(&client.run(&words).await.expect_ok()).unwrap();
        assert_eq!(result["unary"], format!("unary:{}", self.marker));
        assert_eq!(result["caller"], caller);
        assert_eq!(result["large"], (2 << 20) + "unary:".len());
        assert_eq!(result["server_streaming"], json!(["item-0", "item-1", "item-2", "item-3", "item-4"]));
        assert_eq!(result["client_streaming"], "3:abc");
        assert_eq!(result["bidi"], json!(["echo:a", "echo:b", "echo:c"]));
        assert_eq!(result["failure"]["code"], "FAILED_PRECONDITION");
        assert_eq!(result["failure"]["trailers"]["x-detail"], "from the app");
        assert_eq!(result["unknown_method"]["code"], "UNIMPLEMENTED");
        assert_eq!(result["deadline"]["code"], "DEADLINE_EXCEEDED");
    }
}
