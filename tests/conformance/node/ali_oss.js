// Steps of ali-oss. Arguments: endpoint, access key, secret, v1 or v4. Prints one outcome per line, as JSON.
"use strict";
const OSS = require("ali-oss");

const [endpoint, accessKeyId, accessKeySecret, version] = process.argv.slice(2);
const bucket = `conform3-${version}`;
const client = new OSS({
  endpoint, accessKeyId, accessKeySecret, bucket, region: "oss-cn-hangzhou", sldEnable: true,
  authorizationV4: version === "v4", retryMax: 0,
});
const PART = 100 * 1024;

async function step(operation, act, code = "") {
  let result;
  try {
    const answer = await act();
    result = code ? `wrong: not refused with ${code}` : answer === false ? "wrong: the answer is not what was sent" : "ok";
  } catch (error) {
    const given = String(error.code || error.status);
    if (["NotImplemented", "501"].includes(given) || error.status === 501) result = "501";
    else if (code && given === code) result = "ok";
    else result = `wrong: ${given}: ${error.message}`;
  }
  console.log(JSON.stringify({ operation, result }));
}

async function main() {
  await step("PutBucket", () => client.putBucket(bucket));
  await step("ListBuckets", async () => (await client.listBuckets({})).buckets.some((each) => each.name === bucket));
  await step("GetBucketInfo", async () => (await client.getBucketInfo(bucket)).bucket.Name === bucket);
  await step("GetBucketLocation", () => client.getBucketLocation(bucket));
  await step("GetBucketStat", () => client.getBucketStat(bucket));
  await step("PutBucketAcl", () => client.putBucketACL(bucket, "private"));
  await step("GetBucketAcl", async () => (await client.getBucketACL(bucket)).acl === "private");
  await step("PutBucketLifecycle", () => client.putBucketLifecycle(bucket, [
    { id: "r", prefix: "p/", status: "Enabled", abortMultipartUpload: { days: 1 } },
  ]));
  await step("GetBucketLifecycle", async () => (await client.getBucketLifecycle(bucket)).rules[0].id === "r");
  await step("DeleteBucketLifecycle", () => client.deleteBucketLifecycle(bucket));
  await step("PutBucketEncryption", () => client.putBucketEncryption(bucket, { SSEAlgorithm: "AES256" }));
  await step("GetBucketEncryption", () => client.getBucketEncryption(bucket));
  await step("DeleteBucketEncryption", () => client.deleteBucketEncryption(bucket));
  await step("PutBucketTagging", () => client.putBucketTags(bucket, { k: "v" }));
  await step("GetBucketTagging", async () => (await client.getBucketTags(bucket)).tag.k === "v");
  await step("DeleteBucketTagging", () => client.deleteBucketTags(bucket));
  await step("PutObject", () => client.put("a/b c+ü", Buffer.from("data")));
  await step("HeadObject", () => client.head("a/b c+ü"));
  await step("HeadObject", () => client.head("none"), "NoSuchKey");
  await step("GetObjectMeta", () => client.getObjectMeta("a/b c+ü"));
  await step("GetObject", async () => (await client.get("a/b c+ü")).content.toString() === "data");
  await step("GetObject", () => client.get("none"), "NoSuchKey");
  await step("CopyObject", () => client.copy("copy", "a/b c+ü"));
  await step("PutObjectTagging", () => client.putObjectTagging("copy", { k: "v" }));
  await step("GetObjectTagging", async () => (await client.getObjectTagging("copy")).tag.k === "v");
  await step("DeleteObjectTagging", () => client.deleteObjectTagging("copy"));
  await step("PutObjectAcl", () => client.putACL("copy", "private"));
  await step("GetObjectAcl", async () => (await client.getACL("copy")).acl === "private");
  await step("ListObjects", async () => (await client.list({ "max-keys": 10 })).objects.length === 2);
  await step("ListObjectsV2", async () => (await client.listV2({ "max-keys": 10 })).objects.length === 2);
  await step("the SDK's uploader", async () => {
    await client.multipartUpload("parts", Buffer.alloc(3 * PART, "p"), { partSize: PART });
    return (await client.get("parts")).content.length === 3 * PART;
  });
  await step("UploadPartCopy", () => client.multipartUploadCopy("parts2", {
    sourceKey: "parts", sourceBucketName: bucket, startOffset: 0, endOffset: 3 * PART,
  }, { partSize: PART }));
  await step("InitiateMultipartUpload", async () => {
    const { uploadId } = await client.initMultipartUpload("left");
    await client.listParts("left", uploadId);
    await client.abortMultipartUpload("left", uploadId);
  });
  await step("ListMultipartUploads", () => client.listUploads({ "max-uploads": 10 }));
  await step("AppendObject", () => client.append("copy", Buffer.from("x")), "ObjectNotAppendable");
  await step("AppendObject", () => client.append("new", Buffer.from("x")));
  await step("PutSymlink", () => client.putSymlink("link", "copy"));
  await step("presigned GetObject", async () => {
    const url = version === "v4"
      ? await client.signatureUrlV4("GET", 60, {}, "a/b c+ü")
      : client.signatureUrl("a/b c+ü", { expires: 60 });
    const answer = await fetch(url);
    return answer.status === 200 && (await answer.text()) === "data";
  });
  await step("PutBucketVersioning", () => client.putBucketVersioning(bucket, "Enabled"));
  await step("GetBucketVersioning", async () => (await client.getBucketVersioning(bucket)).versionStatus === "Enabled");
  await step("ListObjectVersions", async () => (await client.getBucketVersions({ "max-keys": 10 })).objects.length > 0);
  await step("DeleteObject", () => client.delete("copy"));
  await step("DeleteMultipleObjects", async () => (await client.deleteMulti(["parts", "parts2"])).deleted.length === 2);
  await step("DeleteBucket", () => client.deleteBucket(bucket), "BucketNotEmpty");
  const other = new OSS({ endpoint, accessKeyId, accessKeySecret: "no", bucket, region: "oss-cn-hangzhou", sldEnable: true });
  await step("signature of another secret", () => other.list({}), "SignatureDoesNotMatch");
}

main();
