//! Frames of every kind: well-formed ones by the shapes, mutated ones, junk. The broker answers or closes, never more.
//!
//! Everything is drawn from one seed; a failure names it.

use crate::server::apis::{APIS, Api};
use crate::server::dispatch::{Caller, answer};
use crate::server::frame::{FrameError, frame_bytes};
use crate::server::shape::{self, Field, Kind};
use crate::storage::testing::batch;
use crate::{Broker, BrokerSettings};
use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use std::time::Duration;

/// A small random number generator (xorshift*), so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }
}

/// Writes a random request body of some shape.
struct Generator<'a> {
    dice: &'a mut Dice,
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

impl Generator<'_> {
    fn structure(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.is_in(version)) {
            self.value(&field.kind);
        }
        if self.flexible {
            // Now and then a tagged field that nobody knows.
            if self.dice.below(20) == 0 {
                self.out.extend([1, 99, 2, 7, 7]);
            } else {
                self.out.push(0);
            }
        }
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(1) => self.out.push(self.dice.below(3) as u8),
            Kind::Fixed(count) => {
                let small = self.dice.below(3) > 0;
                let mut bytes = if small { vec![0; *count] } else { self.dice.bytes(*count as u64) };
                bytes[count - 1] = self.dice.below(4) as u8;
                self.out.extend(bytes);
            }
            Kind::Text => {
                let words = ["", "t", "g", "x", "a.b", "retention.ms", "consumer", "range", "5"];
                let word = words[self.dice.below(words.len() as u64) as usize];
                if self.flexible {
                    self.out.push(word.len() as u8 + 1);
                } else {
                    self.out.extend((word.len() as i16).to_be_bytes());
                }
                self.out.extend(word.as_bytes());
            }
            Kind::Bytes => {
                let bytes = match self.dice.below(3) {
                    0 => vec![],
                    1 => self.dice.bytes(30),
                    _ => batch().record(1, Some("k"), Some("v")).build(),
                };
                self.count(bytes.len());
                self.out.extend(bytes);
            }
            Kind::Structures(fields) => {
                let count = self.dice.below(3) as usize;
                self.count(count);
                (0..count).for_each(|_| self.structure(fields));
            }
            Kind::Values(field) => {
                let count = self.dice.below(3) as usize;
                self.count(count);
                (0..count).for_each(|_| self.value(&field.kind));
            }
            Kind::Nullable(fields) => {
                if self.dice.below(2) == 0 {
                    self.out.push(0xff);
                } else {
                    self.out.push(1);
                    self.structure(fields);
                }
            }
        }
    }

    fn count(&mut self, count: usize) {
        if self.flexible {
            assert!(count < 127, "one byte is enough here");
            self.out.push(count as u8 + 1);
        } else {
            self.out.extend((count as i32).to_be_bytes());
        }
    }
}

fn body(api: &Api, version: i16, dice: &mut Dice) -> Vec<u8> {
    let mut generator = Generator { dice, version, flexible: version >= api.flexible, out: vec![] };
    generator.structure(&shape::parse(api.shape));
    generator.out
}

fn frame(api: &Api, version: i16, dice: &mut Dice) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend((api.key as i16).to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 9, 0, 1, b'c']);
    if version >= api.flexible {
        frame.push(0);
    }
    frame.extend(body(api, version, dice));
    frame
}

/// Decodes with the codec and gives the bytes left over.
#[rustfmt::skip]
fn decode(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, String> {
    fn left<R: Decodable>(version: i16, body: &[u8]) -> Result<usize, String> {
        let mut bytes = Bytes::copy_from_slice(body);
        R::decode(&mut bytes, version).map(|_| bytes.len()).map_err(|error| error.to_string())
    }
    macro_rules! by_key {
        ($($key:ident => $request:ident,)*) => { match key { $(ApiKey::$key => left::<$request>(version, body),)* other => panic!("{other:?}") } };
    }
    by_key! {
        Produce => ProduceRequest, Fetch => FetchRequest, ListOffsets => ListOffsetsRequest, Metadata => MetadataRequest,
        OffsetCommit => OffsetCommitRequest, OffsetFetch => OffsetFetchRequest, FindCoordinator => FindCoordinatorRequest,
        JoinGroup => JoinGroupRequest, Heartbeat => HeartbeatRequest, LeaveGroup => LeaveGroupRequest,
        SyncGroup => SyncGroupRequest, DescribeGroups => DescribeGroupsRequest, ListGroups => ListGroupsRequest,
        ApiVersions => ApiVersionsRequest, CreateTopics => CreateTopicsRequest, DeleteTopics => DeleteTopicsRequest,
        DeleteRecords => DeleteRecordsRequest, InitProducerId => InitProducerIdRequest,
        OffsetForLeaderEpoch => OffsetForLeaderEpochRequest, AddPartitionsToTxn => AddPartitionsToTxnRequest,
        AddOffsetsToTxn => AddOffsetsToTxnRequest, EndTxn => EndTxnRequest, TxnOffsetCommit => TxnOffsetCommitRequest,
        DescribeAcls => DescribeAclsRequest, DescribeConfigs => DescribeConfigsRequest, AlterConfigs => AlterConfigsRequest,
        DescribeLogDirs => DescribeLogDirsRequest, CreatePartitions => CreatePartitionsRequest,
        DeleteGroups => DeleteGroupsRequest, ElectLeaders => ElectLeadersRequest,
        IncrementalAlterConfigs => IncrementalAlterConfigsRequest,
        ListPartitionReassignments => ListPartitionReassignmentsRequest, OffsetDelete => OffsetDeleteRequest,
        DescribeCluster => DescribeClusterRequest, DescribeProducers => DescribeProducersRequest,
        DescribeTransactions => DescribeTransactionsRequest, ListTransactions => ListTransactionsRequest,
        DescribeTopicPartitions => DescribeTopicPartitionsRequest,
    }
}

fn every_version() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter().flat_map(|api| (api.min..=api.max).map(move |version| (api, version)))
}

#[test]
fn the_shape_of_every_request_is_what_the_codec_reads() {
    let mut dice = Dice(1);
    for (api, version) in every_version() {
        for _ in 0..50 {
            let body = body(api, version, &mut dice);
            let what = format!("{:?} version {version}: {body:?}", api.key);
            assert_eq!(decode(api.key, version, &body), Ok(0), "{what}");
            assert_eq!(
                shape::check(&shape::parse(api.shape), version, version >= api.flexible, &body),
                Ok(0),
                "{what}"
            );
        }
    }
}

#[test]
fn a_length_beyond_the_frame_is_refused_before_anything_is_allocated() {
    let mut dice = Dice(2);
    for (api, version) in every_version() {
        let fields = shape::parse(api.shape);
        let has_array =
            fields.iter().any(|f| f.is_in(version) && matches!(f.kind, Kind::Structures(_) | Kind::Values(_)));
        for _ in 0..20 {
            let mut body = body(api, version, &mut dice);
            // Overwrite one place with a huge length.
            let huge = if version >= api.flexible {
                vec![0xff, 0xff, 0xff, 0xff, 0x07]
            } else {
                i32::MAX.to_be_bytes().to_vec()
            };
            let at = dice.below(body.len().max(1) as u64) as usize;
            body.splice(at..(at + huge.len()).min(body.len()), huge);
            // Whatever passes is safe to decode: the codec allocates no more than the frame holds.
            if shape::check(&fields, version, version >= api.flexible, &body).is_ok() {
                let _ = decode(api.key, version, &body);
            }
        }
        if has_array && api.key != ApiKey::Produce {
            assert!(shape::check(&fields, version, version >= api.flexible, &[]).is_err());
        }
    }
}

#[test]
fn frame_lengths_have_bounds() {
    assert_eq!(frame_bytes(100i32.to_be_bytes(), 1_000).unwrap(), 100);
    for length in [-1, 0, 9, 1_001, i32::MAX, i32::MIN] {
        assert!(frame_bytes(length.to_be_bytes(), 1_000).is_err(), "{length}");
    }
    assert!(frame_bytes(*b"GET ", 1_000).unwrap_err().to_string().contains("request_bytes_max"));
}

/// Says which frame it was if the test panics.
struct Named<'a> {
    seed: u64,
    number: usize,
    frame: &'a [u8],
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, frame {}: {:?}", self.seed, self.number, self.frame);
        }
    }
}

/// Sends `count` frames drawn from `seed` to a broker and expects it to live.
fn storm(seed: u64, count: usize, mutate: impl Fn(&mut Vec<u8>, &mut Dice)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let settings = BrokerSettings { data_dir: dir.path().into(), listen, ..BrokerSettings::default() };
        let broker = Broker::start(settings.clone()).await.unwrap();
        let caller = Caller { peer: broker.address() };
        let mut dice = Dice(seed);
        let all: Vec<_> = every_version().collect();
        let mut answered = 0;
        for number in 0..count {
            let (api, version) = all[dice.below(all.len() as u64) as usize];
            let mut bytes = frame(api, version, &mut dice);
            mutate(&mut bytes, &mut dice);
            if bytes.len() < 10 {
                continue;
            }
            let _named = Named { seed, number, frame: &bytes };
            let asked = answer(broker.node(), &caller, Bytes::from(bytes.clone()));
            // Joins and long polls may wait; giving up on them is what a client does that goes away.
            match tokio::time::timeout(Duration::from_millis(20), asked).await {
                Ok(Ok(_)) => answered += 1,
                // An answer that its version cannot carry would be our fault, whatever was asked.
                Ok(Err(FrameError::Encode(error))) => panic!("{:?} version {version}: {error}", api.key),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        assert!(answered > 0, "not one frame was well-formed");
        // It still works, and what it stored can be read again.
        let (api, version) = all.iter().find(|(api, _)| api.key == ApiKey::ApiVersions).copied().unwrap();
        let hello = frame(api, version, &mut dice);
        assert!(answer(broker.node(), &caller, hello.into()).await.unwrap().is_some());
        broker.shutdown().await.unwrap();
        Broker::start(settings).await.unwrap().shutdown().await.unwrap();
    });
}

#[test]
fn well_formed_nonsense_is_answered() {
    storm(11, 6_000, |_, _| {});
}

#[test]
fn mutated_frames_do_no_harm() {
    for seed in 21..24 {
        storm(seed, 4_000, |frame, dice| {
            for _ in 0..=dice.below(3) {
                let at = dice.below(frame.len() as u64) as usize;
                match dice.below(4) {
                    0 => frame[at] ^= 1 << dice.below(8),
                    1 => frame[at] = [0, 0xff, 0x7f, 0x80][dice.below(4) as usize],
                    2 => frame.truncate(at.max(10)),
                    _ => {
                        let more = dice.bytes(8);
                        frame.splice(at..at, more);
                    }
                }
            }
        });
    }
}

#[test]
fn junk_behind_a_good_head_does_no_harm() {
    storm(31, 4_000, |frame, dice| {
        // One in ten stays whole, so that there is something to disturb.
        if dice.below(10) > 0 {
            frame.truncate(11);
            let count = dice.below(200);
            frame.extend(dice.bytes(count));
        }
    });
}
