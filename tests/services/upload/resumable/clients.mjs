// Unmodified clients against a running server: node clients.mjs NODE_MODULES '{"endpoint", "token", "way", "size", ...}'
// Prints one line of JSON: the addresses it was given and how many requests it took.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, told] = process.argv.slice(2)
const require = createRequire(`${modules}/index.js`)
const tus = require('tus-js-client')
const { endpoint, token, way, size, metadata } = JSON.parse(told)
const headers = { 'stowage-internal': token }
const file = Buffer.alloc(size, 'stowage ')
const requests = []

const options = {
  endpoint,
  headers,
  metadata,
  chunkSize: 100_000,
  retryDelays: [0, 100, 300, 1000],
  onAfterResponse: (request, response) => requests.push(`${request.getMethod()} ${response.getStatus()}`),
}

function upload(more) {
  return new Promise((resolve, reject) => {
    const made = new tus.Upload(file, { ...options, ...more, onError: reject, onSuccess: () => resolve(made.url) })
    made.start()
  })
}

const ways = {
  plain: () => upload({}),
  creation: () => upload({ uploadDataDuringCreation: true }),
  whole: () => upload({ uploadDataDuringCreation: true, chunkSize: Infinity }),
  parallel: () => upload({ parallelUploads: 4 }),
  override: () => upload({ overridePatchMethod: true }),
  deferred: () => {
    const { Readable } = require('node:stream')
    return new Promise((resolve, reject) => {
      const pieces = Array.from({ length: Math.ceil(size / 50_000) }, (_, n) => file.subarray(n * 50_000, (n + 1) * 50_000))
      const made = new tus.Upload(Readable.from(pieces), {
        ...options, uploadLengthDeferred: true, onError: reject, onSuccess: () => resolve(made.url),
      })
      made.start()
    })
  },
  // Given up after some bytes; another instance finds it again by its address.
  resumed: async () => {
    const uploadUrl = await new Promise((resolve, reject) => {
      const made = new tus.Upload(file, {
        ...options, onError: reject,
        onChunkComplete: (_, accepted) => accepted >= 300_000 && made.abort().then(() => resolve(made.url)),
      })
      made.start()
    })
    return upload({ uploadUrl })
  },
  terminated: async () => {
    return new Promise((resolve, reject) => {
      const made = new tus.Upload(file, {
        ...options, onError: reject, onChunkComplete: () => made.abort(true).then(() => resolve(made.url), reject),
      })
      made.start()
    })
  },
  uppy: async () => {
    const load = (name) => import(pathToFileURL(require.resolve(name)).href)
    const { default: Uppy } = await load('@uppy/core')
    const { default: Tus } = await load('@uppy/tus')
    const uppy = new Uppy({ meta: metadata })
    uppy.use(Tus, { endpoint, headers, chunkSize: 100_000, retryDelays: [0, 100, 300] })
    // Outside of browsers a file's data is a Buffer, which has a length where a Blob has a size.
    for (const name of ['one.txt', 'two.txt']) {
      uppy.addFile({ name, type: 'text/plain', data: Object.assign(Buffer.from(file), { size }) })
    }
    const { successful, failed } = await uppy.upload()
    if (failed.length) throw new Error(JSON.stringify(failed.map((f) => f.error)))
    return successful.map((f) => f.uploadURL)
  },
}

const urls = [await ways[way]()].flat()
console.log(JSON.stringify({ urls, requests }))
