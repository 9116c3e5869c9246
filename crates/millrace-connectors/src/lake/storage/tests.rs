//! What a folder and a bucket promise, and what is told when a bucket cannot be reached, or refuses.

mod server;

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use server::{Asked, Objects, answer, refusal, serve};

const FILE: &str = "t/date=2026-01-31/hour=09/p00001-000000000005-000000000009.parquet";

/// The bucket `shop` of this server, with more in the environment.
fn at(url: &str, more: &[(&str, &str)]) -> Storage {
    let variables = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hidden"),
    ];
    let variables = variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Storage::of_bucket("shop", "lake", &Environment::new(variables)).expect("settings")
}

#[test]
fn places() {
    let pair = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
    for (text, expected) in [
        ("s3://shop/lake/", pair("shop", "lake")),
        ("s3://shop", pair("shop", "")),
        ("s3:/shop/a/b", pair("shop", "a/b")),
        ("/data/lake", None),
        ("s3", None),
    ] {
        assert_eq!(bucket_of(FsPath::new(text)), expected, "{text}");
    }
    let nameless = Storage::open(FsPath::new("s3:///x"), false).expect_err("no bucket");
    assert!(nameless.to_string().contains("s3://BUCKET/PREFIX"), "{nameless}");
}

async fn keeps_the_promises(storage: &Storage) {
    storage.put(FILE, b"first".to_vec()).await.expect("written");
    storage.put(FILE, b"second".to_vec()).await.expect("written over");
    assert!(storage.create("_claims/t/1", b"a".to_vec()).await.expect("created"));
    assert!(!storage.create("_claims/t/1", b"b".to_vec()).await.expect("refused"));
    assert!(storage.create("_claims/t/1", b"a".to_vec()).await.expect("it is this one"));
    for name in ["t/c", "t/b", "t/a", "tt/a"] {
        storage.put(name, vec![b'x'; 3]).await.expect("written");
    }
    let listed = storage.list("t").await.expect("listed");
    let names: Vec<(&str, u64)> = listed.iter().map(|object| (object.path.as_str(), object.bytes)).collect();
    assert_eq!(names, [("t/a", 3), ("t/b", 3), ("t/c", 3), (FILE, 6)], "all of them, by name");
    assert_eq!(storage.list("").await.expect("listed").len(), 6);
    assert!(storage.list("none").await.expect("listed").is_empty());
    assert_eq!(storage.read(FILE, 1..3).await.expect("read").as_deref(), Some(&b"ec"[..]));
    assert_eq!(storage.read("t/none", 0..1).await.expect("nothing to read"), None);
    let short = storage.read(FILE, 3..9).await.expect_err("it ends before");
    assert!(short.kind() == ErrorKind::Unavailable && short.to_string().contains("3 bytes of a range of 6"), "{short}");
    for name in [FILE, FILE, "t/a", "t/b", "t/c"] {
        storage.delete(name).await.expect("deleted, or deleted already");
    }
    assert!(storage.list("t").await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_folder_keeps_the_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("lake");
    std::fs::create_dir_all(lake.join("t")).expect("a folder");
    std::fs::write(lake.join("t/.staged-x1Y2z3"), "half").expect("of another archiver");
    keeps_the_promises(&Storage::open(&lake, true).expect("a folder")).await;
}

#[tokio::test]
async fn a_bucket_keeps_the_promises() {
    let mut objects = Objects::default();
    let storage = at(&serve(move |asked| Some(objects.answer(asked))), &[]);
    keeps_the_promises(&storage).await;
    assert_eq!(format!("{storage:?}"), "Storage(s3://shop/lake)");
}

/// Creates a file at a server that spoils the first requests for it so: does what is asked and goes silent, ends the
/// connection, or answers so instead.
async fn created(spoils: &[&str], found: &str) -> Result<bool, SinkError> {
    let mut objects = Objects::default();
    let mut spoils: Vec<String> = spoils.iter().rev().map(|&spoil| spoil.to_owned()).collect();
    let url = serve(move |asked| {
        if !asked.line.starts_with("PUT") {
            return Some(objects.answer(asked));
        }
        match spoils.pop().as_deref() {
            None => Some(objects.answer(asked)),
            Some("away") => None,
            Some("lost") => {
                objects.answer(asked);
                None
            }
            Some("slow") => {
                objects.answer(asked);
                std::thread::sleep(Duration::from_millis(800));
                None
            }
            Some("conflict") => Some(refusal("409 Conflict", "ConditionalRequestConflict", "another is under way")),
            Some(other) => panic!("{other}"),
        }
    });
    let storage = at(&url, &[("AWS_TIMEOUT", "500ms")]);
    if !found.is_empty() {
        storage.put("_claims/t/1", found.into()).await.expect("another was first");
    }
    storage.create("_claims/t/1", b"own".to_vec()).await
}

#[tokio::test]
async fn what_is_created_is_created_once_whatever_becomes_of_the_answer() {
    for (spoils, found, expected) in [
        (&["lost"][..], "", true),
        (&["slow"], "", true),
        (&["away", "lost"], "", true),
        (&["conflict", "conflict"], "", true),
        (&["conflict", "slow"], "", true),
        (&[], "other", false),
    ] {
        assert_eq!(created(spoils, found).await.expect("known"), expected, "{spoils:?} {found}");
    }
    let error = created(&["conflict"; 4], "").await.expect_err("for ever under way");
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("409"), "{error}");
}

#[tokio::test]
async fn who_can_mend_it_is_told_how() {
    use ErrorKind::{Invalid, Unavailable};
    let list = "GET";
    let put = "PUT";
    let delete = "POST";
    for (asked, status, code, kind, told) in [
        (list, "404 Not Found", "NoSuchBucket", Invalid, "make the bucket first"),
        (put, "404 Not Found", "NoSuchBucket", Invalid, "make the bucket first"),
        (delete, "404 Not Found", "NoSuchBucket", Invalid, "make the bucket first"),
        (list, "403 Forbidden", "InvalidAccessKeyId", Invalid, "the credentials must allow"),
        (put, "403 Forbidden", "AccessDenied", Invalid, "the credentials must allow"),
        (list, "400 Bad Request", "ExpiredToken", Invalid, "the credentials must allow"),
        (list, "400 Bad Request", "AuthorizationHeaderMalformed", Invalid, "AWS_REGION"),
        (list, "301 Moved Permanently", "PermanentRedirect", Invalid, "AWS_REGION"),
        (put, "501 Not Implemented", "NotImplemented", Invalid, "conditional puts"),
        (list, "503 Slow Down", "SlowDown", Unavailable, "503 SlowDown spoken"),
    ] {
        let refuse = move |_: &Asked| Some(refusal(status, code, "spoken"));
        let storage = at(&serve(refuse), &[]);
        let refused = match asked {
            "GET" => storage.list("t").await.map(|_| ()),
            "PUT" => storage.create(FILE, b"x".to_vec()).await.map(|_| ()),
            _ => storage.delete(FILE).await,
        };
        let error = refused.expect_err(code);
        let text = error.to_string();
        assert!(error.kind() == kind && text.contains(told), "{asked} {status}: {text}");
        assert!(text.contains("s3://shop/lake") && !text.contains("hidden"), "{text}");
    }
    let error = at(&serve(|_| Some(refusal("404 Not Found", "NoSuchBucket", ""))), &[]).read(FILE, 0..1).await;
    assert_eq!(error.expect_err("no bucket").kind(), Invalid);
}

#[tokio::test]
async fn an_absent_server_is_waited_for_and_one_without_tls_is_not() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let error = at(&format!("http://{port}"), &[]).list("t").await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("http://{port}: Connection refused")), "{error}");
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", plain.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4_096]).expect("a greeting");
            stream.write_all(answer("400 Bad Request", "", "").as_bytes()).expect("answered");
        }
    });
    let error = at(&url, &[]).list("t").await.expect_err("it speaks no TLS");
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("AWS_CA_BUNDLE"), "{error}");
}

#[tokio::test]
async fn a_machine_asks_with_its_role() {
    let (tell, told) = mpsc::channel();
    let mut objects = Objects::default();
    let url = serve(move |asked| {
        let text = match asked.line.as_str() {
            "PUT /latest/api/token" => "of-the-metadata",
            "GET /latest/meta-data/iam/security-credentials/" => "archiver",
            "GET /latest/meta-data/iam/security-credentials/archiver" => {
                r#"{"Code":"Success","AccessKeyId":"of-the-role","SecretAccessKey":"hidden","Token":"for-a-while",
                    "Expiration":"2999-01-01T00:00:00Z"}"#
            }
            _ => {
                tell.send(asked.head.clone()).expect("somebody listens");
                return Some(objects.answer(asked));
            }
        };
        Some(answer("200 OK", "", text))
    });
    let environment = |metadata: &str| {
        let set = [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_ALLOW_HTTP", "1"), ("AWS_METADATA_ENDPOINT", metadata)];
        Environment::new(set.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    let storage = Storage::of_bucket("shop", "", &environment(&url)).expect("settings");
    storage.put(FILE, b"x".to_vec()).await.expect("written");
    let head = told.recv().expect("a request");
    assert!(head.contains("credential=of-the-role/") && head.contains("x-amz-security-token: for-a-while"), "{head}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = Storage::of_bucket("shop", "", &environment(&format!("http://{port}"))).expect("settings");
    let asked = Instant::now();
    let error = nobody.list("t").await.expect_err("no role");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("set AWS_ACCESS_KEY_ID"), "{error}");
}
