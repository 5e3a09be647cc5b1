// What this program uses of Node, whose types are not installed.
declare const process: { argv: string[] };
