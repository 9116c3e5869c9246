//! Files that somebody else lists and reads, as the object store DataFusion asks: a list that stays as it is during a query.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::StreamExt;
use futures::stream::BoxStream;

/// A file of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileAtRest {
    /// Its path, as [`FilesAtRest::read`] takes it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// Bytes under way; the error is a sentence.
pub type BytesRead<'a> = Pin<Box<dyn Future<Output = std::result::Result<Vec<u8>, String>> + Send + 'a>>;

/// Where files are read from.
pub trait FilesAtRest: fmt::Debug + Send + Sync + 'static {
    /// Bytes of a file.
    fn read(&self, path: String, range: Range<u64>) -> BytesRead<'_>;
}

/// These files and no others.
#[derive(Debug)]
pub(super) struct Listed {
    files: BTreeMap<Path, ObjectMeta>,
    from: Arc<dyn FilesAtRest>,
}

impl Listed {
    pub(super) fn new(files: Vec<FileAtRest>, from: Arc<dyn FilesAtRest>) -> Self {
        let meta = |file: FileAtRest| {
            let location = Path::from(file.path);
            let last_modified = Default::default();
            (location.clone(), ObjectMeta { location, last_modified, size: file.bytes, e_tag: None, version: None })
        };
        Listed { files: files.into_iter().map(meta).collect(), from }
    }

    fn below(&self, prefix: Option<&Path>) -> Vec<Result<ObjectMeta>> {
        let within = |path: &Path| prefix.is_none_or(|prefix| path.prefix_matches(prefix));
        self.files.iter().filter(|(path, _)| within(path)).map(|(_, meta)| Ok(meta.clone())).collect()
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files of the lake", self.files.len())
    }
}

fn read_only<T>() -> Result<T> {
    Err(Error::NotSupported { source: "the lake is only read here".into() })
}

#[async_trait]
impl ObjectStore for Listed {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        read_only()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        read_only()
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let failed = |why: String| Error::Generic { store: "lake", source: why.into() };
        let Some(meta) = self.files.get(location).cloned() else {
            return Err(Error::NotFound { path: location.to_string(), source: "no file of the table".into() });
        };
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(|e| failed(e.to_string()))?,
        };
        let bytes = match options.head {
            true => Vec::new(),
            false => self.from.read(location.to_string(), range.clone()).await.map_err(failed)?,
        };
        let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes.into()) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { read_only() }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::iter(self.below(prefix)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let depth = prefix.map_or(0, |prefix| prefix.parts().count());
        let mut folders: Vec<Path> = Vec::new();
        let mut objects = Vec::new();
        for meta in self.below(prefix) {
            let meta = meta?;
            let parts: Vec<_> = meta.location.parts().collect();
            if parts.len() == depth + 1 {
                objects.push(meta);
            } else {
                folders.push(parts.into_iter().take(depth + 1).collect());
            }
        }
        folders.dedup();
        Ok(ListResult { common_prefixes: folders, objects })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        read_only()
    }
}
