//! Files over a socket, in both generations and as real clients send them.

use tokio::io::AsyncWriteExt;

use crate::support::http::{gateway, gateway_with, multipart};

const FILES: &str = "/pools/python/files";

#[tokio::test(flavor = "multi_thread")]
async fn an_old_upload_is_listed_and_read_at_once() {
    let gateway = gateway().await;
    let query = "identifier=old-files&api-version=2024-02-02-preview";
    for (filename, stored) in
        [("a.txt", "a.txt"), ("/mnt/data/b.txt", "b.txt"), ("dir/c d.txt", "dir/c d.txt"), ("e%20f.txt", "e f.txt")]
    {
        let answer = gateway.upload(&format!("{FILES}/upload?{query}"), filename, b"abc").await;
        assert_eq!(answer.json()["value"][0]["properties"]["filename"], stored);
        assert_eq!(answer.json()["value"][0]["properties"]["size"], 3);
    }
    let list = gateway.get(&format!("{FILES}?{query}")).await.json();
    let names: Vec<&str> =
        list["value"].as_array().unwrap().iter().filter_map(|f| f["properties"]["filename"].as_str()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "dir/c d.txt", "e f.txt"]);
    assert_eq!(gateway.get(&format!("{FILES}/content/dir/c%20d.txt?{query}")).await.body, b"abc");
    assert_eq!(
        gateway.run("old-files", "open('/mnt/data/dir/c d.txt').read()").await["result"]["executionResult"],
        "'abc'"
    );
    let deleted = gateway.send("DELETE", &format!("{FILES}/a.txt?{query}"), &[], b"").await;
    assert_eq!((deleted.status, deleted.json()["message"].as_str()), (200, Some("file deleted successfully")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_generation_has_folders() {
    let gateway = gateway().await;
    let query = "identifier=new-files&api-version=2025-10-02-preview";
    let uploaded = gateway.upload(&format!("{FILES}?{query}&path=/mnt/data/in"), "sub/a b.csv", b"1,2\n").await.json();
    assert_eq!(
        (uploaded["name"].as_str(), uploaded["directory"].as_str()),
        (Some("sub/a b.csv"), Some("/mnt/data/in"))
    );
    let top = gateway.get(&format!("{FILES}?{query}")).await.json();
    assert_eq!((top["value"][0]["name"].as_str(), top["value"][0]["type"].as_str()), (Some("in"), Some("directory")));
    let deep = gateway.get(&format!("{FILES}?{query}&recursive=true&path=in")).await.json();
    assert_eq!(deep["value"][1]["name"], "sub/a b.csv");
    assert_eq!(gateway.get(&format!("{FILES}/in/sub/a%20b.csv/content?{query}")).await.body, b"1,2\n");
    assert_eq!(gateway.get(&format!("{FILES}/a%20b.csv?{query}&path=in/sub")).await.json()["sizeInBytes"], 4);
    let draft = gateway.send("POST", &format!("{FILES}/in/sub/a%20b.csv:downloadFile?{query}"), &[], b"").await;
    assert_eq!(draft.json()["content"], "MSwyCg==");
    assert_eq!(gateway.send("DELETE", &format!("{FILES}/in/sub/a%20b.csv?{query}"), &[], b"").await.status, 204);
    assert_eq!(gateway.get(&format!("{FILES}/in/sub/a%20b.csv?{query}")).await.code(), "FileNotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_version_a_file_has_both_shapes() {
    let gateway = gateway().await;
    gateway.upload(&format!("{FILES}/upload?identifier=both"), "a.txt", b"abc").await;
    let list = gateway.get(&format!("{FILES}?identifier=both")).await.json();
    assert_eq!(
        (&list["value"][0]["name"], &list["value"][0]["properties"]["filename"]),
        (&"a.txt".into(), &"a.txt".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_body_under_another_content_type_is_still_read() {
    let gateway = gateway().await;
    let body = multipart(&[("name=\"file\"; filename=\"/mnt/data/sk.txt\"", b"abc")]);
    for headers in [&[("content-type", "application/json")][..], &[]] {
        let answer = gateway.send("POST", &format!("{FILES}/upload?identifier=sniffed"), headers, &body).await;
        assert_eq!(answer.json()["value"][0]["properties"]["filename"], "sk.txt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_parts_are_several_files() {
    let gateway = gateway().await;
    let parts: [(&str, &[u8]); 3] = [
        ("name=\"comment\"", b"not a file"),
        ("name=\"file\"; filename=\"a\"", b"1"),
        ("name=\"file\"; filename=\"b\"", b"22"),
    ];
    let headers = [("content-type", "multipart/form-data; boundary=xyz")];
    let answer =
        gateway.send("POST", &format!("{FILES}?identifier=several"), &headers, &multipart(&parts)).await.json();
    assert_eq!((answer["name"].as_str(), answer["value"][1]["sizeInBytes"].as_u64()), (Some("a"), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upload_is_refused_and_stores_nothing() {
    let gateway = gateway().await;
    let path = format!("{FILES}/upload?identifier=refused");
    let headers = [("content-type", "multipart/form-data; boundary=xyz")];
    let no_file = multipart(&[("name=\"other\"; filename=\"a\"", b"1")]);
    let no_name = multipart(&[("name=\"file\"", b"1")]);
    let cut = &multipart(&[("name=\"file\"; filename=\"a\"", b"1")])[..100];
    for body in [&no_file[..], &no_name, cut, b"", b"{}"] {
        assert_eq!(gateway.send("POST", &path, &headers, body).await.code(), "SessionRequestValidationFailed");
    }
    for filename in ["../a", "/mnt/data/../a", "a/../../b", "..", ""] {
        assert_eq!(gateway.upload(&path, filename, b"1").await.status, 400, "{filename}");
    }
    assert_eq!(gateway.get(&format!("{FILES}?identifier=refused")).await.json()["value"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_sent_upload_stores_nothing() {
    let gateway = gateway().await;
    let body = multipart(&[("name=\"file\"; filename=\"half.txt\"", &[7; 10_000])]);
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST {FILES}/upload?identifier=half HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=xyz\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..5000]).await.unwrap();
    drop(stream);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(gateway.get(&format!("{FILES}?identifier=half")).await.json()["value"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_the_limit_is_refused_also_when_its_length_is_not_told() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.limits.upload_bytes = 100_000).await;
    let path = format!("{FILES}/upload?identifier=large");
    let answer = gateway.upload(&path, "large", &[1; 300_000]).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "RequestBodyTooLarge"));
    assert_eq!(gateway.upload(&path, "fits", &[1; 100_000]).await.status, 200);
    let body = multipart(&[("name=\"file\"; filename=\"large\"", &[1; 150_000])]);
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: multipart/form-data; boundary=xyz\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(&chunked).await;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
    assert_eq!(crate::support::http::checked("POST", &path, &answer).status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_no_files() {
    let gateway = gateway().await;
    assert_eq!(gateway.get(&format!("{FILES}?identifier=nobody")).await.json()["value"], serde_json::json!([]));
    assert_eq!(gateway.get(&format!("{FILES}/content/a?identifier=nobody")).await.code(), "FileNotFound");
    assert_eq!(gateway.get("/pools/python/session?identifier=nobody").await.code(), "SessionWithIdentifierNotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_whole() {
    let gateway = gateway().await;
    let content: Vec<u8> = (0..1_000_001u32).map(|i| (i * 7 % 251) as u8).collect();
    gateway.upload(&format!("{FILES}/upload?identifier=whole"), "large", &content).await;
    let answer = gateway.get(&format!("{FILES}/large/content?identifier=whole")).await;
    assert_eq!(answer.header("content-length"), Some("1000001"));
    assert!(answer.body == content);
}
