import type { AnnotationQuery, Dashboard, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as candlestick from '@grafana/schema/dist/esm/raw/composable/candlestick/panelcfg/x/CandlestickPanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as statetimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Enums are texts in JSON.
type Json<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;

// What the data source's plugin reads.
type Base = {
  refId: string;
  datasource: { type: 'grafana-clickhouse-datasource'; uid: string };
  pluginVersion: string;
  editorType: 'sql';
  rawSql: string;
};
type TableQuery = Base & { queryType: 'table'; format: 1 };
type SeriesQuery = Base & { queryType: 'timeseries'; format: 0 };
type DataPanel = Omit<Json<Panel>, 'targets'> & { targets: (TableQuery | SeriesQuery)[] };
type Board = Omit<Json<Dashboard>, 'panels' | 'annotations' | 'templating' | 'id' | 'version'> & {
  panels: (DataPanel | Json<RowPanel>)[];
  annotations: { list: (Omit<Json<AnnotationQuery>, 'target'> & { target: TableQuery })[] };
  templating: { list: Json<VariableModel>[] };
};

// Options and field settings of each plugin, exactly: a misspelt name is an error.
type Pictures = {
  timeseries: [Json<timeseries.Options>, Json<Partial<timeseries.FieldConfig>>];
  candlestick: [Json<candlestick.Options>, Json<Partial<candlestick.FieldConfig>>];
  heatmap: [Json<heatmap.Options>, Json<Partial<heatmap.FieldConfig>>];
  'state-timeline': [Json<statetimeline.Options>, Json<Partial<statetimeline.FieldConfig>>];
  stat: [Json<stat.Options>, Record<string, never>];
  table: [Json<table.Options>, Json<Partial<table.FieldConfig>>];
};
