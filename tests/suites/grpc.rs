//! gRPC: grpcio of Python on both sides, with calls of all four kinds.

use serde_json::{Value, json};
use weft_tests::{ControlPlane, Runner, fixture, require_python};

async fn calls(mode: &str) {
    if !require_python("grpc") {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let _echo = Runner::start(&control_plane, "echo", &["python3", &fixture("grpc_server.py"), "{port}"]);
    control_plane.serving("echo", 1).await;
    let client = ["python3", &fixture("grpc_client.py"), mode, "echo"];
    let output = Runner::start(&control_plane, "caller", &client).output().await;
    let result: Value = serde_json::from_str(&output).unwrap();

    assert_eq!(result["unary"], "unary:hello");
    assert_eq!(result["caller"], "spiffe://weft.local/ns/default/sa/caller");
    assert_eq!(result["large"], (2 << 20) + "unary:".len());
    assert_eq!(result["server_streaming"], json!(["item-0", "item-1", "item-2", "item-3", "item-4"]));
    assert_eq!(result["client_streaming"], "3:abc");
    assert_eq!(result["bidi"], json!(["echo:a", "echo:b", "echo:c"]));
    let failure = &result["failure"];
    assert_eq!(failure["code"], "FAILED_PRECONDITION");
    assert_eq!(failure["details"], "not today: 100 %");
    assert_eq!(failure["trailers"]["x-detail"], "from the app");
    assert_eq!(result["unknown_method"]["code"], "UNIMPLEMENTED");
    assert_eq!(result["deadline"]["code"], "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn through_the_proxy_of_the_environment() {
    calls("proxy").await;
}

#[tokio::test]
async fn straight_to_the_sidecar() {
    calls("direct").await;
}

#[tokio::test]
async fn what_the_sidecar_refuses_comes_as_a_grpc_status() {
    if !require_python("grpc") {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let call = "import grpc, os\n\
        outbound = os.environ['WEFT_OUTBOUND'].removeprefix('http://')\n\
        options = [('grpc.default_authority', 'ech'), ('grpc.enable_http_proxy', 0)]\n\
        channel = grpc.insecure_channel(outbound, options=options)\n\
        try: channel.unary_unary('/test.Echo/Unary')(b'', timeout=20)\n\
        except grpc.RpcError as error: print(error.code().name, error.details())\n";
    let output = Runner::start(&control_plane, "caller", &["python3", "-c", call]).output().await;
    assert!(output.starts_with("UNAVAILABLE ") && output.contains("default/ech"), "{output}");
}
