// What the page says, in English and Chinese, and how it writes sizes, times and dates.

const ENGLISH = {
  title: "vcompose: join your videos",
  claim: "Join your videos into one film.",
  docs: "For programs: the API",

  connecting: "connecting…",
  live: "live",
  polling: "live (polling)",
  reconnecting: "reconnecting…",

  library: "Your clips",
  pick: "Choose videos",
  drop: "or drop them here",
  noClips: "No clips yet. Choose two or more videos from this device.",
  add: "Add to film",
  addNamed: "Add to film: {name}",
  added: "{name} was added to the film, as number {place}",
  remove: "Delete",
  removeNamed: "Delete {name}",
  removeClip: "Delete “{name}” from the server?",
  keep: "Keep",
  removed: "{name} was deleted",
  noSound: "no sound",
  first_picture_incomplete: "does not begin with a key picture: its first moments may be blurred",
  cut_off: "seems cut off: its header promises more than can be read",

  waitingToSend: "waiting",
  sending: "uploading: {percent}",
  looking: "looking into it…",
  uploadOf: "Upload of {name}",
  uploaded: "{name} was uploaded and added to the film",
  stop: "Stop",
  stopNamed: "Stop the upload of {name}",
  again: "Try again",
  againNamed: "Try again: {name}",
  dismiss: "Dismiss",
  dismissNamed: "Dismiss {name}",

  film: "Your film",
  filmLength: "Clips: {count} · Length: {length}",
  upNamed: "Move {name} up",
  downNamed: "Move {name} down",
  takeNamed: "Take {name} out of the film",
  moved: "{name} is now number {place} of {count}",
  taken: "{name} was taken out of the film",
  clear: "Clear the list",
  cleared: "The film's list is empty",
  filename: "Name of the film",
  compose: "Compose",
  composing: "Sending…",
  tooFew: "Choose at least two clips",
  uploadsFirst: "Some clips are still being uploaded: compose when they are here, or stop them",
  accepted: "Accepted: see the jobs",

  jobs: "Jobs",
  noJobs: "No jobs yet. They are shown here while they run and after.",
  older: "Show older jobs",
  more: "{names} and {count} more",
  progressOf: "Progress of {name}",
  filmOf: "The film {name}",
  state_pending: "pending",
  state_processing: "processing",
  state_completed: "completed",
  state_failed: "failed",
  state_cancelled: "cancelled",
  stage_waiting: "waiting for its turn",
  stage_looking: "looking at the clips",
  stage_encoding: "encoding pictures",
  stage_sound: "encoding sound",
  stage_joining: "joining",
  stage_verifying: "checking the film",
  stage_done: "done",
  left: "about {time} left",
  seconds: "{n} s",
  minutes: "{n} min",
  hours: "{n} h {m} min",
  cancel: "Cancel",
  cancelNamed: "Cancel {name}",
  cancelling: "cancelling…",
  removeJob: "Delete this job and its film?",
  removeJobNamed: "Delete the job {name}",
  jobRemoved: "The job was deleted",
  download: "Download {name}",
  copied: "copied untouched: {count}",
  encoded: "encoded: {count}",
  blamed: "Clip: {name}",
  attempt: "attempt {n}",
  became: "{name}: {state}",

  unreachable: "The server cannot be reached. Check the connection and try again.",
  unanswered: "The server answered with error {status}. Try again in a moment.",
};

const CHINESE = {
  title: "vcompose：拼接视频",
  claim: "将多段视频合成为一部影片。",
  docs: "开发者：API 文档",

  connecting: "正在连接…",
  live: "实时更新",
  polling: "实时更新（轮询）",
  reconnecting: "正在重新连接…",

  library: "我的视频",
  pick: "选择视频",
  drop: "或将视频拖放到此处",
  noClips: "还没有视频。请从本设备选择两个或更多视频。",
  add: "加入影片",
  addNamed: "加入影片：{name}",
  added: "{name} 已加入影片，排在第 {place} 位",
  remove: "删除",
  removeNamed: "删除 {name}",
  removeClip: "要从服务器上删除“{name}”吗？",
  keep: "保留",
  removed: "{name} 已删除",
  noSound: "无声音",
  first_picture_incomplete: "开头不是关键帧：最初的画面可能模糊",
  cut_off: "文件似乎不完整：实际内容少于文件头所声明的",

  waitingToSend: "等待上传",
  sending: "正在上传：{percent}",
  looking: "正在检查…",
  uploadOf: "{name} 的上传进度",
  uploaded: "{name} 已上传并加入影片",
  stop: "停止",
  stopNamed: "停止上传 {name}",
  again: "重试",
  againNamed: "重试：{name}",
  dismiss: "关闭",
  dismissNamed: "关闭 {name} 的提示",

  film: "我的影片",
  filmLength: "视频数：{count} · 时长：{length}",
  upNamed: "上移 {name}",
  downNamed: "下移 {name}",
  takeNamed: "从影片中移除 {name}",
  moved: "{name} 现在是第 {place} 个，共 {count} 个",
  taken: "{name} 已从影片中移除",
  clear: "清空列表",
  cleared: "影片列表已清空",
  filename: "影片名称",
  compose: "开始合成",
  composing: "正在提交…",
  tooFew: "至少需要选择两个视频进行合成",
  uploadsFirst: "还有视频正在上传：请等待上传完成后再合成，或先停止上传",
  accepted: "已接受：请查看任务列表",

  jobs: "任务",
  noJobs: "还没有任务。任务的进度和结果会显示在这里。",
  older: "显示更早的任务",
  more: "{names} 等，另有 {count} 个",
  progressOf: "{name} 的进度",
  filmOf: "影片 {name}",
  state_pending: "等待中",
  state_processing: "处理中",
  state_completed: "已完成",
  state_failed: "失败",
  state_cancelled: "已取消",
  stage_waiting: "正在排队",
  stage_looking: "正在检查视频",
  stage_encoding: "正在编码画面",
  stage_sound: "正在编码声音",
  stage_joining: "正在拼接",
  stage_verifying: "正在校验影片",
  stage_done: "已完成",
  left: "约剩 {time}",
  seconds: "{n} 秒",
  minutes: "{n} 分钟",
  hours: "{n} 小时 {m} 分钟",
  cancel: "取消",
  cancelNamed: "取消 {name}",
  cancelling: "正在取消…",
  removeJob: "要删除此任务及其影片吗？",
  removeJobNamed: "删除任务 {name}",
  jobRemoved: "任务已删除",
  download: "下载 {name}",
  copied: "原样复制：{count}",
  encoded: "重新编码：{count}",
  blamed: "视频：{name}",
  attempt: "第 {n} 次尝试",
  became: "{name}：{state}",

  unreachable: "无法连接服务器。请检查网络连接后重试。",
  unanswered: "服务器返回错误 {status}。请稍后重试。",
};

const TEXTS = { en: ENGLISH, "zh-CN": CHINESE };
const REMEMBERED = "vcompose.language";

let language = initial();

function initial() {
  try {
    const chosen = localStorage.getItem(REMEMBERED);
    if (chosen in TEXTS) return chosen;
  } catch {
    // storage may be forbidden: then the browser's own languages decide each time
  }
  const first = (navigator.languages ?? []).find((one) => /^(zh|en)\b/i.test(one)) ?? "en";
  return /^zh\b/i.test(first) ? "zh-CN" : "en";
}

export const currentLanguage = () => language;

export function chooseLanguage(chosen) {
  language = chosen;
  try {
    localStorage.setItem(REMEMBERED, chosen);
  } catch {
    // see above
  }
}

/** A sentence. What stands in for {placeholders} is put in once, and never looked through again. */
export function say(key, values = {}) {
  return (TEXTS[language][key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const known = (key) => key in ENGLISH;

export const percent = (value) => `${Math.floor(value)}%`;

export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let scale = 0;
  for (; count >= 1000 && scale < units.length - 1; scale += 1) count /= 1000;
  const shape = { style: "unit", unit: units[scale], unitDisplay: "short", maximumFractionDigits: scale ? 1 : 0 };
  return new Intl.NumberFormat(language, shape).format(count);
}

/** 0:07, 3:20 or 1:02:05 */
export function length(seconds) {
  const whole = Math.round(seconds);
  const pad = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  const tail = pad(whole % 60);
  return minutes < 60 ? `${minutes}:${tail}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${tail}`;
}

export function timeLeft(seconds) {
  if (seconds < 60) return say("left", { time: say("seconds", { n: Math.max(1, Math.round(seconds)) }) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return say("left", { time: say("minutes", { n: minutes }) });
  return say("left", { time: say("hours", { n: Math.floor(minutes / 60), m: minutes % 60 }) });
}

export function moment(text) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}

/** Pictures a second: "30000/1001" as 29.97 */
export function rate(fraction) {
  const [above, below] = fraction.split("/").map(Number);
  return String(Math.round((above / (below || 1)) * 100) / 100);
}
