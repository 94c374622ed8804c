// Uppy and its S3 plugin as they are published, in Node: only what a browser has and Node has not is added.
// node uppy.mjs NODE_MODULES; on standard input {endpoint, token, meta, multipart, files: [{name, type, size, fill}]}.
import { readFileSync } from 'node:fs'

const modules = process.argv[2]
const told = JSON.parse(readFileSync(0, 'utf8'))

const fetching = globalThis.fetch
// A browser sends its cookie by itself; this stands for it.
globalThis.fetch = (url, options = {}) =>
  fetching(url, { ...options, headers: { ...options.headers, 'stowage-internal': told.token } })

globalThis.XMLHttpRequest = class {
  upload = {}
  status = 0
  readyState = 0
  #headers = {}
  #aborter = new AbortController()

  open(method, url) {
    this.method = method
    this.url = url
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value
  }

  getResponseHeader(name) {
    return this.response?.headers.get(name) ?? null
  }

  abort() {
    this.#aborter.abort()
  }

  async send(body) {
    try {
      const init = { method: this.method, body, headers: this.#headers, signal: this.#aborter.signal }
      this.response = await fetching(this.url, init)
      this.responseText = await this.response.text()
      this.status = this.response.status
      this.statusText = this.response.statusText
      this.upload.onprogress?.({ lengthComputable: true, loaded: body?.size ?? 0, total: body?.size ?? 0 })
      this.onload?.()
    } catch {
      this.onerror?.()
    }
  }
}

const { default: Uppy } = await import(`${modules}/@uppy/core/lib/index.js`)
const { default: AwsS3 } = await import(`${modules}/@uppy/aws-s3/lib/index.js`)

const uppy = new Uppy({ meta: told.meta }).use(AwsS3, {
  companionEndpoint: told.endpoint,
  shouldUseMultipart: told.multipart,
})
for (const file of told.files) {
  uppy.addFile({ name: file.name, type: file.type, data: new Blob([Buffer.alloc(file.size, file.fill)]) })
}
const done = await uppy.upload()
process.stdout.write(
  JSON.stringify({
    successful: done.successful.map((file) => ({ name: file.name, body: file.response.body })),
    failed: done.failed.map((file) => ({ name: file.name, error: String(file.error) })),
  }),
)
process.exit(0)
